// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Each step of MD5 waits for the one before, so a core that computes one digest is idle for most of the time. Eight
// lanes of a vector take as long as one number does, and two vectors by turns take little longer than one.
//
// This is C because Swift has no way to build a function for more than the CPU that the whole program is built for.
// The choice between the functions is a plain branch at run time: static builds with musl have no ifunc.

#include <string.h>

#include "CQueuePoolDigest.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words and digests are little-endian, and are copied as is");

// What is inlined takes vectors by pointer only: how they are passed by value depends on what a function is built for.
#define INLINED static inline __attribute__((always_inline))
#define UNROLLED _Pragma("clang loop unroll(full)")

enum { width = 8, blockBytes = 64, blockWords = 16 };

typedef uint32_t Lanes __attribute__((vector_size(4 * width)));
typedef uint32_t Quarter __attribute__((vector_size(16)));

// The state of RFC 1321 of eight texts.
typedef struct {
    Lanes a, b, c, d;
} Chain;

// Where the next block of each lane is. Whole blocks are read where they are; `tails` has what follows them, in one
// block or two: the rest, a byte that ends it, zeros, and the count of the text's bits in the last eight bytes.
typedef struct {
    const uint8_t *next[2 * width];
    size_t stride[2 * width];
    size_t whole[2 * width];
    size_t blocks[2 * width];
    // All bits of the lanes that have not ended.
    uint32_t goes_on[2 * width];
    uint8_t tails[2 * width][2 * blockBytes];
} Sources;

// The whole part of 2^32 times the sine of each step's number, from 1, without its sign.
static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

// The rounds' functions. The second one's halves have no bit in common, so they can be added one by one, and only the
// last waits for the step before.
#define MIX1(sum, b, c, d) (sum + (d ^ (b & (c ^ d))))
#define MIX2(sum, b, c, d) ((sum + (c & ~d)) + (b & d))
#define MIX3(sum, b, c, d) (sum + (b ^ (c ^ d)))
#define MIX4(sum, b, c, d) (sum + (c ^ (b | ~d)))

// What a step does to `a`. An "or" of the shifts would do as well as their sum, but the compiler knows it for a
// rotation, for which SSE2 has only slow ways.
#define STEP_OF(MIX, a, b, c, d, word, step, bits)      \
    do {                                                \
        Lanes sum = a + (word + sines[step]);           \
        sum = MIX(sum, b, c, d);                        \
        a = b + ((sum << bits) + (sum >> (32 - bits))); \
    } while (0)

// The same step of each chain: while one waits for its step before, the other goes on.
#define STEP(MIX, a, b, c, d, word, step, bits)                                                       \
    do {                                                                                              \
        STEP_OF(MIX, x.a, x.b, x.c, x.d, words[0][(word) & 15], step, bits);                          \
        if (chains > 1) STEP_OF(MIX, y.a, y.b, y.c, y.d, words[chains - 1][(word) & 15], step, bits); \
    } while (0)

// Four steps with their shifts, of which the first one has the number `step` and takes `word`; the next ones skip some.
#define STEPS(MIX, step, word, skip, s0, s1, s2, s3)          \
    do {                                                      \
        STEP(MIX, a, b, c, d, word, step, s0);                \
        STEP(MIX, d, a, b, c, word + skip, step + 1, s1);     \
        STEP(MIX, c, d, a, b, word + 2 * skip, step + 2, s2); \
        STEP(MIX, b, c, d, a, word + 3 * skip, step + 3, s3); \
    } while (0)

#define PAIRED(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)

// Loads four words of eight texts, so that each vector has the same word of all. Words move within a half of a vector
// only, which is one operation with SSE2 and with AVX2. Four at a time, because the first steps need no others.
INLINED void load(const uint8_t *const *texts, size_t offset, Lanes *words) {
    Lanes in[4];
    UNROLLED for (int i = 0; i < 4; i++) {
        Quarter low, high;
        memcpy(&low, texts[i] + offset, sizeof low);
        memcpy(&high, texts[i + 4] + offset, sizeof high);
        in[i] = PAIRED(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
    }
    UNROLLED for (int i = 0; i < 4; i += 2) {
        const Lanes x = in[i], y = in[i + 1];
        in[i] = PAIRED(x, y, 0, 8, 1, 9, 4, 12, 5, 13);
        in[i + 1] = PAIRED(x, y, 2, 10, 3, 11, 6, 14, 7, 15);
    }
    UNROLLED for (int i = 0; i < 2; i++) {
        words[2 * i] = PAIRED(in[i], in[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        words[2 * i + 1] = PAIRED(in[i], in[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
}

// Takes one block of each lane that has not ended into the chains.
INLINED void transform(Chain *state, const Sources *sources, const int chains) {
    Lanes words[2][blockWords], goes_on[2];
    Chain x = state[0], y = state[chains - 1];
    UNROLLED for (int i = 0; i < 16; i += 4) {
        for (int chain = 0; chain < chains; chain++) load(sources->next + chain * width, i * 4, words[chain] + i);
        STEPS(MIX1, i, i, 1, 7, 12, 17, 22);
    }
    UNROLLED for (int i = 0; i < 16; i += 4) STEPS(MIX2, 16 + i, 5 * i + 1, 5, 5, 9, 14, 20);
    UNROLLED for (int i = 0; i < 16; i += 4) STEPS(MIX3, 32 + i, 3 * i + 5, 3, 4, 11, 16, 23);
    UNROLLED for (int i = 0; i < 16; i += 4) STEPS(MIX4, 48 + i, 7 * i, 7, 6, 10, 15, 21);
    memcpy(goes_on, sources->goes_on, sizeof goes_on);
    state[0].a += x.a & goes_on[0], state[0].b += x.b & goes_on[0];
    state[0].c += x.c & goes_on[0], state[0].d += x.d & goes_on[0];
    if (chains < 2) return;
    state[1].a += y.a & goes_on[1], state[1].b += y.b & goes_on[1];
    state[1].c += y.c & goes_on[1], state[1].d += y.d & goes_on[1];
}

// Makes the texts' tails, and begins with the texts' first blocks.
static void pad(Sources *sources, const qp_md5_text *texts, size_t count) {
    for (size_t lane = 0; lane < count; lane++) {
        const qp_md5_text text = texts[lane];
        const size_t whole = text.count / blockBytes, rest = text.count % blockBytes;
        const size_t more = rest + 9 > blockBytes ? 2 : 1;
        const uint64_t bits = (uint64_t)text.count * 8;
        uint8_t *tail = sources->tails[lane];
        memset(tail, 0, 2 * blockBytes);
        if (rest) memcpy(tail, (const uint8_t *)text.bytes + whole * blockBytes, rest);
        tail[rest] = 0x80;
        memcpy(tail + more * blockBytes - sizeof bits, &bits, sizeof bits);
        sources->next[lane] = text.bytes;
        sources->stride[lane] = blockBytes;
        sources->goes_on[lane] = ~0u;
        sources->whole[lane] = whole;
        sources->blocks[lane] = whole + more;
    }
    for (size_t lane = count; lane < 2 * width; lane++) sources->whole[lane] = sources->blocks[lane] = 0;
}

// Sends each lane to its tail when its whole blocks are over. A lane that has ended, or has no text, reads anything
// and keeps its digest. Returns the next block at which there is something to do; `block` if all have ended.
INLINED size_t next_change(Sources *sources, size_t block, const int chains) {
    size_t until = SIZE_MAX;
    for (int lane = 0; lane < chains * width; lane++) {
        const size_t whole = sources->whole[lane], blocks = sources->blocks[lane];
        if (block < whole) {
            until = whole < until ? whole : until;
        } else if (block < blocks) {
            sources->next[lane] = sources->tails[lane] + (block - whole) * blockBytes;
            until = blocks < until ? blocks : until;
        } else {
            sources->next[lane] = sources->tails[0];
            sources->stride[lane] = 0;
            sources->goes_on[lane] = 0;
        }
    }
    return until == SIZE_MAX ? block : until;
}

INLINED void digest_lanes(const qp_md5_text *texts, size_t count, qp_md5_digest *digests, const int chains) {
    Sources sources;
    pad(&sources, texts, count);
    Chain state[2];
    for (int i = 0; i < chains; i++) {
        state[i].a = (Lanes){} + 0x67452301u, state[i].b = (Lanes){} + 0xefcdab89u;
        state[i].c = (Lanes){} + 0x98badcfeu, state[i].d = (Lanes){} + 0x10325476u;
    }
    size_t block = 0, until;
    while ((until = next_change(&sources, block, chains)) != block) {
        for (; block < until; block++) {
            transform(state, &sources, chains);
            for (int lane = 0; lane < chains * width; lane++) sources.next[lane] += sources.stride[lane];
        }
    }
    uint32_t numbers[2][4][width];
    memcpy(numbers, state, (size_t)chains * sizeof numbers[0]);
    for (size_t lane = 0; lane < count; lane++) {
        const size_t chain = lane / width, i = lane % width;
        digests[lane].low = numbers[chain][0][i] | (uint64_t)numbers[chain][1][i] << 32;
        digests[lane].high = numbers[chain][2][i] | (uint64_t)numbers[chain][3][i] << 32;
    }
}

// One chain at a time: with vectors of four lanes, which is all that SSE2 has, it is two that alternate already, and
// there are no registers for more.
void qp_md5_lanes_baseline(const qp_md5_text *texts, size_t count, qp_md5_digest *digests) {
    for (size_t start = 0; start < count; start += width)
        digest_lanes(texts + start, count - start < width ? count - start : width, digests + start, 1);
}

#ifdef __x86_64__

int qp_md5_has_avx2(void) { return __builtin_cpu_supports("avx2") != 0; }

__attribute__((target("avx2"))) static void digest8(const qp_md5_text *texts, size_t count, qp_md5_digest *digests) {
    digest_lanes(texts, count, digests, 1);
}

__attribute__((target("avx2"))) static void digest16(const qp_md5_text *texts, size_t count, qp_md5_digest *digests) {
    digest_lanes(texts, count, digests, 2);
}

void qp_md5_lanes_avx2(const qp_md5_text *texts, size_t count, qp_md5_digest *digests) {
    for (; count > 2 * width; count -= 2 * width, texts += 2 * width, digests += 2 * width)
        digest16(texts, 2 * width, digests);
    if (count > width)
        digest16(texts, count, digests);
    else
        digest8(texts, count, digests);
}

#else

int qp_md5_has_avx2(void) { return 0; }

void qp_md5_lanes_avx2(const qp_md5_text *texts, size_t count, qp_md5_digest *digests) {
    qp_md5_lanes_baseline(texts, count, digests);
}

#endif

size_t qp_md5_lanes_width(void) { return qp_md5_has_avx2() ? 2 * width : width; }

void qp_md5_lanes(const qp_md5_text *texts, size_t count, qp_md5_digest *digests) {
    if (qp_md5_has_avx2())
        qp_md5_lanes_avx2(texts, count, digests);
    else
        qp_md5_lanes_baseline(texts, count, digests);
}
