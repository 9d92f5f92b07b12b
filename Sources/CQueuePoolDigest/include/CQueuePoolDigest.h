// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// MD5s of several texts side by side, one in each lane of the CPU's vectors. The header includes no system header but
// those of the language, so that importing it moves no libc type into a Swift module.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// A text; the bytes of an empty one may be 0.
typedef struct {
    const void *bytes;
    size_t count;
} qp_md5_text;

/// A digest's sixteen bytes as two little-endian numbers.
typedef struct {
    uint64_t low;
    uint64_t high;
} qp_md5_digest;

/// Writes the digest of each text, in order, with the widest vectors of this CPU that there is code for.
void qp_md5_lanes(const qp_md5_text *texts, size_t count, qp_md5_digest *digests);
/// How many texts it takes side by side; more are taken in several passes.
size_t qp_md5_lanes_width(void);

// Only for tests.

/// The same with the vectors that every CPU of this architecture has.
void qp_md5_lanes_baseline(const qp_md5_text *texts, size_t count, qp_md5_digest *digests);
/// The same with AVX2; only for a CPU that has it.
void qp_md5_lanes_avx2(const qp_md5_text *texts, size_t count, qp_md5_digest *digests);
/// Whether this CPU has AVX2; 0 on other architectures.
int qp_md5_has_avx2(void);
