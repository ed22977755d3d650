#include "encoding.h"
#include "openmm/OpenMMException.h"
#include <array>
#include <cstdint>

using namespace OpenMM;
using namespace std;

namespace {

const char* const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t NO_LETTER = 255;

array<uint8_t, 256> valuesOfLetters() {
    array<uint8_t, 256> values;
    values.fill(NO_LETTER);
    for (int i = 0; i < 64; i++)
        values[(uint8_t)LETTERS[i]] = i;
    return values;
}

[[noreturn]] void refuseText(const string& reason) {
    throw OpenMMException("KMLForce: the model's base64 text is damaged: " + reason);
}

// FIPS 180-4, section 4.2.2: fractional parts of the cube roots of the first 64 primes.
const uint32_t ROUND_CONSTANTS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

uint32_t rotateRight(uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

/** One block of 64 bytes (FIPS 180-4, section 6.2.2). */
void updateDigest(array<uint32_t, 8>& state, const uint8_t* block) {
    uint32_t w[64];
    for (int t = 0; t < 16; t++)
        w[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 | (uint32_t)block[4 * t + 2] << 8 |
               (uint32_t)block[4 * t + 3];
    for (int t = 16; t < 64; t++) {
        uint32_t s0 = rotateRight(w[t - 15], 7) ^ rotateRight(w[t - 15], 18) ^ (w[t - 15] >> 3);
        uint32_t s1 = rotateRight(w[t - 2], 17) ^ rotateRight(w[t - 2], 19) ^ (w[t - 2] >> 10);
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    auto [a, b, c, d, e, f, g, h] = state;
    for (int t = 0; t < 64; t++) {
        uint32_t sum1 = rotateRight(e, 6) ^ rotateRight(e, 11) ^ rotateRight(e, 25);
        uint32_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + ROUND_CONSTANTS[t] + w[t];
        uint32_t sum0 = rotateRight(a, 2) ^ rotateRight(a, 13) ^ rotateRight(a, 22);
        uint32_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    const uint32_t rounds[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++)
        state[i] += rounds[i];
}

} // namespace

string OpenMMKML::encodeBase64(const vector<char>& bytes) {
    string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (size_t i = 0; i < bytes.size(); i += 3) {
        const size_t left = bytes.size() - i;
        uint32_t group = (uint32_t)(uint8_t)bytes[i] << 16;
        if (left > 1)
            group |= (uint32_t)(uint8_t)bytes[i + 1] << 8;
        if (left > 2)
            group |= (uint8_t)bytes[i + 2];
        text += LETTERS[group >> 18];
        text += LETTERS[group >> 12 & 63];
        text += left > 1 ? LETTERS[group >> 6 & 63] : '=';
        text += left > 2 ? LETTERS[group & 63] : '=';
    }
    return text;
}

vector<char> OpenMMKML::decodeBase64(const string& text) {
    static const array<uint8_t, 256> values = valuesOfLetters();
    if (text.size() % 4 != 0)
        refuseText("its length, " + to_string(text.size()) + ", is not a multiple of four");
    size_t padding = 0;
    while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=')
        padding++;
    vector<char> bytes;
    bytes.reserve(text.size() / 4 * 3);
    uint32_t group = 0;
    for (size_t i = 0; i < text.size(); i++) {
        uint8_t value = i < text.size() - padding ? values[(uint8_t)text[i]] : 0;
        if (value == NO_LETTER)
            refuseText("letter " + to_string(i) + " does not belong there");
        group = group << 6 | value;
        if (i % 4 == 3) {
            bytes.push_back(group >> 16 & 255);
            bytes.push_back(group >> 8 & 255);
            bytes.push_back(group & 255);
        }
    }
    for (size_t i = 0; i < padding; i++) {
        if (bytes.back() != 0)
            refuseText("bits are set behind its end");
        bytes.pop_back();
    }
    return bytes;
}

string OpenMMKML::sha256(const vector<char>& bytes) {
    // Fractional parts of the square roots of the first eight primes (section 5.3.3).
    array<uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
    const size_t whole = bytes.size() / 64 * 64;
    for (size_t i = 0; i < whole; i += 64)
        updateDigest(state, data + i);
    // The rest, a one bit, zeros, and the length in bits (section 5.1.1).
    vector<uint8_t> tail(data + whole, data + bytes.size());
    tail.push_back(0x80);
    while (tail.size() % 64 != 56)
        tail.push_back(0);
    for (int shift = 56; shift >= 0; shift -= 8)
        tail.push_back((uint64_t)bytes.size() * 8 >> shift & 255);
    for (size_t i = 0; i < tail.size(); i += 64)
        updateDigest(state, tail.data() + i);
    string digest;
    for (uint32_t word : state)
        for (int shift = 28; shift >= 0; shift -= 4)
            digest += "0123456789abcdef"[word >> shift & 15];
    return digest;
}
