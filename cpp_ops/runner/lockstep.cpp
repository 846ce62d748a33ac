#include "lockstep.h"

#include <cstdio>
#include <cstring>

#include "measure.h"
#include "memory_stream.h"

namespace haste::runner {
namespace {

bool stream_of(const char* name, Stream& stream) {
  if (!std::strcmp(name, "read"))
    stream = Stream::kRead;
  else if (!std::strcmp(name, "write"))
    stream = Stream::kWrite;
  else if (!std::strcmp(name, "copy"))
    stream = Stream::kCopy;
  else
    return false;
  return true;
}

bool obey(const char* line, Session& session, MemoryStreams& streams) {
  char verb[16], name[16];
  unsigned long long number;
  Stream stream;
  if (std::sscanf(line, "run %llu", &number) == 1) {
    for (; number > 0; number--) session.run();
  } else if (std::sscanf(line, "evict %llu", &number) == 1) {
    streams.evict(number);
  } else if (std::sscanf(line, "%15s %15s %llu", verb, name, &number) == 3 && stream_of(name, stream)) {
    if (!std::strcmp(verb, "prepare"))
      streams.prepare(stream, number);
    else if (!std::strcmp(verb, "stream"))
      streams.run(stream, number);
    else
      return false;
  } else {
    return false;
  }
  return true;
}

}  // namespace

void obey_commands(Session& session) {
  MemoryStreams streams;
  char line[128];
  std::puts("ready");
  std::fflush(stdout);
  while (std::fgets(line, sizeof line, stdin) && std::strncmp(line, "quit", 4) != 0) {
    const double start = now_seconds();
    if (obey(line, session, streams))
      std::printf("done %.9f\n", now_seconds() - start);
    else
      std::printf("error not understood: %.*s\n", static_cast<int>(std::strcspn(line, "\n")), line);
    std::fflush(stdout);
  }
}

}  // namespace haste::runner
