// Writes JSON into a string. Commas are its business; the caller opens and closes.
#ifndef HASTE_RUNNER_JSON_WRITER_H_
#define HASTE_RUNNER_JSON_WRITER_H_

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

namespace haste::runner {

class JsonWriter {
 public:
  JsonWriter& open(char bracket) {  // '{' or '['
    separate();
    text_ += bracket;
    fresh_ = true;
    return *this;
  }
  JsonWriter& close(char bracket) {
    text_ += bracket;
    fresh_ = false;
    return *this;
  }
  JsonWriter& key(const std::string& name) {
    separate();
    quote(name);
    text_ += ": ";
    fresh_ = true;
    return *this;
  }
  JsonWriter& value(const std::string& string) {
    separate();
    quote(string);
    return *this;
  }
  JsonWriter& value(const char* string) { return value(std::string(string)); }
  JsonWriter& value(bool flag) { return raw(flag ? "true" : "false"); }
  JsonWriter& value(int number) { return raw(std::to_string(number)); }
  JsonWriter& value(std::int64_t number) { return raw(std::to_string(number)); }
  JsonWriter& value(std::uint64_t number) { return raw(std::to_string(number)); }
  JsonWriter& value(double number) {  // JSON has no infinities and no NaN
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.9g", number);
    return raw(std::isfinite(number) ? digits : "null");
  }
  JsonWriter& null() { return raw("null"); }

  const std::string& text() const { return text_; }

 private:
  JsonWriter& raw(const std::string& token) {
    separate();
    text_ += token;
    return *this;
  }
  void separate() {
    if (!fresh_) text_ += ", ";
    fresh_ = false;
  }
  void quote(const std::string& string) {
    text_ += '"';
    for (const char c : string) {
      if (c == '"' || c == '\\') {
        text_ += '\\';
        text_ += c;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        char escape[8];
        std::snprintf(escape, sizeof escape, "\\u%04x", c);
        text_ += escape;
      } else {
        text_ += c;
      }
    }
    text_ += '"';
  }
  std::string text_;
  bool fresh_ = true;
};

}  // namespace haste::runner

#endif  // HASTE_RUNNER_JSON_WRITER_H_
