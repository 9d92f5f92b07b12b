// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `XXH64` {
    @Test(
        arguments: [
            (0, 0xef46_db37_51d8_e999), (1, 0xe934_a84a_db05_2768), (4, 0x9136_a0dc_a574_57ee),
            (14, 0x8282_dcc4_994e_35c8), (222, 0xb641_ae8c_b691_c174),
        ] as [(Int, UInt64)])
    func `gives the digests of the reference implementation's self-test`(length: Int, digest: UInt64) {
        #expect(selfTestDigest(length) == digest)
    }

    /// Bytes (7 i + 3) mod 256, hashed by the xxhash package of Python.
    @Test(
        arguments: [
            (0, 0xef46_db37_51d8_e999), (1, 0x1f25_c8d0_bc1f_4bb6), (3, 0x31d2_363f_52e5_64c9),
            (4, 0x9bb6_4b7d_66ee_9fda), (5, 0xc760_8efd_db70_51fe), (7, 0x9a7b_1499_59ce_60d8),
            (8, 0xdab9_9d95_c6f9_0092), (9, 0x170b_b6bf_975b_4c02), (12, 0xd52e_4078_33af_5133),
            (15, 0x1b47_cb82_43cc_8e32), (16, 0x4348_5023_2b78_7be2), (17, 0x1efa_7025_f1b9_7a7a),
            (24, 0xc47c_71bd_4694_ff81), (31, 0xa2aa_5f33_cc4a_6119), (32, 0x23c3_c17e_f790_fd97),
            (33, 0x50a7_cfc7_ba58_8784), (36, 0xc0b5_2b0d_cc5e_3f7f), (40, 0xb620_306b_253d_76b6),
            (47, 0xa7c5_465c_c5ad_205e), (63, 0x5e3e_54b4_31c7_493c), (64, 0x0eb6_4b3e_f6ee_b01f),
            (65, 0xa383_b724_b2bd_12f1), (95, 0xf6ff_b910_3991_895f), (96, 0x3101_a958_de58_2e18),
            (99, 0x06a0_8eb0_98af_a2c3), (100, 0xa61f_8d4c_170f_e531),
        ] as [(Int, UInt64)])
    func `agrees with another implementation at every kind of tail`(length: Int, digest: UInt64) {
        let bytes = (0..<length).map { UInt8(($0 * 7 + 3) % 256) }
        #expect(bytes.withUnsafeBytes { XXHash64.hash($0) } == digest)
    }

    @Test func `hashes text as its UTF-8`() {
        #expect(XXHash64.hash("") == 0xef46_db37_51d8_e999)
        #expect(XXHash64.hash("a") == 0xd24e_c4f1_a98c_6e5b)
        #expect(XXHash64.hash("abc") == 0x44bc_2cf5_ad77_0999)
        #expect(XXHash64.hash("Nobody inspects the spammish repetition") == 0xfbce_a83c_8a37_8bf1)
    }
}

/// The digest of the bytes with which the reference implementation tests itself.
private func selfTestDigest(_ length: Int) -> UInt64 {
    var generator: UInt64 = 2_654_435_761
    let bytes = (0..<length).map { _ -> UInt8 in
        defer { generator = generator &* 11_400_714_785_074_694_797 }
        return UInt8(truncatingIfNeeded: generator >> 56)
    }
    return bytes.withUnsafeBytes { XXHash64.hash($0) }
}

@Suite struct `SipHash-2-4-128` {
    private let hash = SipHash128(key0: 0x0706_0504_0302_0100, key1: 0x0f0e_0d0c_0b0a_0908)

    /// From the authors' table for the key 00 01 ... 0f and the input 00 01 ... .
    @Test(arguments: [
        (0, "a3817f04ba25a8e66df67214c7550293"), (1, "da87c1d86b99af44347659119b22fc45"),
        (7, "a1f1ebbed8dbc153c0b84aa61ff08239"), (8, "3b62a9ba6258f5610f83e264f31497b4"),
        (9, "264499060ad9baabc47f8b02bb6d71ed"), (15, "5493e99933b0a8117e08ec0f97cfc3d9"),
        (16, "6ee2a4ca67b054bbfd3315bf85230577"), (63, "5150d1772f50834a503e069a973fbd7c"),
    ])
    func `gives the authors' digests`(length: Int, digest: String) {
        let bytes = (0..<length).map { UInt8($0) }
        let found = bytes.withUnsafeBytes { hash.hash($0) }
        var text: [UInt8] = []
        for word in [found.low, found.high] {
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                text.append(Hexadecimal.digit(word >> (shift + 4) & 15))
                text.append(Hexadecimal.digit(word >> shift & 15))
            }
        }
        #expect(String(decoding: text, as: UTF8.self) == digest)
    }

    @Test func `tells where the first part ends`() {
        #expect(pair("ab", "c") != pair("a", "bc"))
        #expect(pair("", "abc") != pair("abc", ""))
        #expect(pair("a", "b") == pair("a", "b"))
    }

    private func pair(_ first: String, _ second: String) -> Hash128 {
        Array(first.utf8).withUnsafeBytes { a in Array(second.utf8).withUnsafeBytes { b in hash.hash(a, b) } }
    }
}
