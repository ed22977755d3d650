#ifndef OPENMMKML_ENCODING_H_
#define OPENMMKML_ENCODING_H_

#include <string>
#include <vector>

namespace OpenMMKML {

/** Base64 text of the bytes (RFC 4648 section 4, with padding, no line breaks). */
std::string encodeBase64(const std::vector<char>& bytes);

/**
 * Bytes of base64 text. Strict: only what encodeBase64() writes is read, so that equal bytes have equal text.
 *
 * @throws OpenMMException  if the text has another length, letter or padding
 */
std::vector<char> decodeBase64(const std::string& text);

/** SHA-256 (FIPS 180-4) of the bytes, 64 lower-case hexadecimal digits. */
std::string sha256(const std::vector<char>& bytes);

} // namespace OpenMMKML

#endif
