// Obeys one command per line on standard input, so that another process can count events around exactly the work it
// asks for.
#ifndef HASTE_RUNNER_LOCKSTEP_H_
#define HASTE_RUNNER_LOCKSTEP_H_

#include "session.h"

namespace haste::runner {

// Prints "ready", then answers every line with "done SECONDS", or "error SENTENCE" for a line it does not understand:
//   run N              N inferences
//   evict BYTES        empties the caches of the model
//   prepare STREAM BYTES, stream STREAM BYTES   makes, then walks memory; STREAM is read, write or copy
//   quit               (or end of input) returns
void obey_commands(Session& session);

}  // namespace haste::runner

#endif  // HASTE_RUNNER_LOCKSTEP_H_
