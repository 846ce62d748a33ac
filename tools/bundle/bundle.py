"""Everything for a device in one archive, and the wheel of the same build.

    python tools/bundle/bundle.py aarch64-linux-gnu            # or arm-linux-gnueabihf, x86_64-linux-gnu
    python tools/bundle/bundle.py aarch64-linux-gnu --tune cortex-a72

Writes dist/haste-<version>-<target>.tar.gz (operator library, haste-run, haste.h, the Python package runtime_ops, a
README) and dist/haste_export-<version>-py3-none-manylinux_2_28_<machine>.whl. The same sources give the same archive,
byte for byte.

Exit codes: 0 done; 1 the result would not run on the oldest system promised; 2 usage; 3 no cross compiler.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from elf import complaints
from glibc_stub import make_stubs, parse_version

ROOT = Path(__file__).resolve().parents[2]
README = Path(__file__).with_name("README.board.md")
GLIBC = "2.28"
MACHINES = {"aarch64-linux-gnu": "aarch64", "arm-linux-gnueabihf": "armv7l", "x86_64-linux-gnu": "x86_64"}
PACKAGES = {
    "aarch64-linux-gnu": "g++-aarch64-linux-gnu",
    "arm-linux-gnueabihf": "g++-arm-linux-gnueabihf",
    "x86_64-linux-gnu": "g++",
}


def project_version() -> str:
    """The version in pyproject.toml."""
    found = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, "pyproject.toml has no version"
    return found[1]


def build_wheel(target: str, tune: str, build: Path, stubs: Path, dist: Path) -> Path:
    """Builds library and haste-run in `build`, and the wheel into `dist`; returns the wheel."""
    machine = MACHINES[target]
    defines = {
        "CMAKE_TOOLCHAIN_FILE": ROOT / f"cmake/toolchains/{target}.cmake",
        "HASTE_GLIBC_STUBS": stubs,
        "HASTE_TUNE": tune,
        "HASTE_BUILD_RUNNER": "ON",
        "HASTE_CUDA": "OFF",
    }
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "wheel",
                "-q",
                "--no-deps",
                "--no-build-isolation",
                "--wheel-dir",
                folder,
                str(ROOT),
            ]
            + [f"-Cbuild-dir={build}"]
            + [f"-Ccmake.define.{name}={value}" for name, value in defines.items()],
            check=True,
            # Sets the wheel's platform to the target's in place of this machine's.
            env={**os.environ, "_PYTHON_HOST_PLATFORM": f"linux-{machine}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
        (built,) = Path(folder).glob("*.whl")
        tag = f"manylinux_{GLIBC.replace('.', '_')}_{machine}"
        subprocess.run(
            [sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", tag, str(built)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (tagged,) = Path(folder).glob("*.whl")
        dist.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(tagged, dist / tagged.name))


def stage(target: str, build: Path, folder: Path) -> list[Path]:
    """Lays the bundle's files out in `folder`; returns the binaries among them."""
    folder.mkdir(parents=True)
    binaries = []
    for name in ("libhaste_ops.so", "haste-run"):
        binaries.append(Path(shutil.copy(build / name, folder / name)))
        subprocess.run([f"{target}-strip", "--strip-unneeded", str(folder / name)], check=True)
    shutil.copy(ROOT / "cpp_ops/include/haste/haste.h", folder / "haste.h")
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    shutil.copytree(ROOT / "runtime_ops", folder / "runtime_ops", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (folder / "runtime_ops/libhaste_ops.so").symlink_to("../libhaste_ops.so")
    text = README.read_text(encoding="utf-8")
    (folder / "README.md").write_text(
        text.replace("@VERSION@", project_version()).replace("@TARGET@", target), encoding="utf-8"
    )
    return binaries


def write_archive(folder: Path, archive: Path) -> None:
    """A .tar.gz whose bytes depend on names, modes and contents alone."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in [folder, *sorted(folder.rglob("*"))]:
            entry = tar.gettarinfo(str(path), arcname=str(path.relative_to(folder.parent)))
            entry.mtime = entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mode = 0o755 if entry.isdir() or path.name == "haste-run" else 0o644
            if entry.isfile():
                with path.open("rb") as file:
                    tar.addfile(entry, file)
            else:
                tar.addfile(entry)
    archive.write_bytes(gzip.compress(buffer.getvalue(), 9, mtime=0))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Everything for a device in one archive")
    parser.add_argument("target", choices=sorted(MACHINES))
    parser.add_argument(
        "--tune", default="", help="processor to order instructions for, e.g. cortex-a72 (runs on all others too)"
    )
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder for the results (dist)")
    parser.add_argument("--build", type=Path, help="folder for the build (build/bundle/<target>)")
    arguments = parser.parse_args()
    target: str = arguments.target
    if not shutil.which(f"{target}-g++"):
        print(f"no {target}-g++ on this machine: install {PACKAGES[target]}", file=sys.stderr)
        return 3
    name = f"haste-{project_version()}-{target}" + (f"-{arguments.tune}" if arguments.tune else "")
    build = (arguments.build or ROOT / "build/bundle" / name).resolve()
    try:
        stubs = build.parent / f"glibc-{GLIBC}-{target}"
        make_stubs(f"{target}-gcc", parse_version(GLIBC), stubs)
        wheel = build_wheel(target, arguments.tune, build, stubs, arguments.dist)
        with tempfile.TemporaryDirectory() as folder:
            staged = Path(folder) / name
            wrong = [
                line for binary in stage(target, build, staged) for line in complaints(binary, parse_version(GLIBC))
            ]
            if wrong:
                print("\n".join(wrong), file=sys.stderr)
                return 1
            archive = arguments.dist / f"{name}.tar.gz"
            write_archive(staged, archive)
    except subprocess.CalledProcessError as error:
        print(f"failed: {' '.join(map(str, error.cmd))}\n{error.stderr or ''}", file=sys.stderr)
        return 1
    print(archive)
    print(wheel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
