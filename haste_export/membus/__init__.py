"""Bytes that cross the memory bus during an inference: counted by hardware, simulated, or computed.

Three kinds of number exist, and one table never mixes them: `ddr-pmu` and `core-pmu` (counters of this machine,
calibrated), `simulated` (a cache model fed with the real instructions), `analytic` (what the algorithm cannot avoid).
"""
