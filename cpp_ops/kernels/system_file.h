// What Linux tells in files of one line.
#pragma once

#include <string>

namespace haste {

std::string read_line(const std::string& path);  // the first line with its end, or "" where there is none

}  // namespace haste
