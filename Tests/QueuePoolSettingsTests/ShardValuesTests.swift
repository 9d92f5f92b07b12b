// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolSettings
import Testing

@Suite("Values of single shards")
struct ShardValuesTests {
    private func values(_ texts: [String], count: Int = 8) throws -> [Int: String] {
        try shardValues(texts, count: count, allowed: "a region") { isRegionName($0) ? $0 : nil }
    }

    @Test func `a number, ranges and lists name shards`() throws {
        #expect(
            try values(["5=eu-west-1", "0,2=us-west-2", "6-7=ap-south-1"]) == [
                5: "eu-west-1", 0: "us-west-2", 2: "us-west-2", 6: "ap-south-1", 7: "ap-south-1",
            ])
    }

    // With a type of its own: the compiler does not find one for a list of so many in reasonable time.
    private static let wrong: [(texts: String, says: String)] = [
        ("4-7=us-west-2 7=us-west-2", "named twice"), ("1,1=us-west-2", "named twice"), ("4-8=us-west-2", "shard 8"),
        ("8=us-west-2", "0...7"), ("us-west-2", "SHARDS=VALUE"), ("=us-west-2", "SHARDS=VALUE"),
        ("7-4=us-west-2", "SHARDS=VALUE"), ("1=", "a region"), ("1=nowhere", "a region"), ("1=US-WEST-2", "a region"),
        ("1=us-west-2.evil.example", "a region"),
    ]

    @Test(arguments: wrong)
    func `what names no shards, a shard twice or no value is refused`(texts: String, says: String) {
        let error = #expect(throws: ShardValuesError.self) { try values(texts.split(separator: " ").map(String.init)) }
        #expect(error?.description.contains(says) == true)
    }

    @Test func `regions' names`() {
        for name in ["eu-central-1", "us-gov-west-1", "us-isob-east-1", "eusc-de-east-1", "ru-central1"] {
            #expect(isRegionName(name))
        }
        for name in ["", "-", "a--1", "useast1", "us-east", "1-1", "us_east_1", "us-east-1-", "eu-west-1/"] {
            #expect(!isRegionName(name))
        }
    }

    @Test func `roles' ARNs`() {
        for arn in ["arn:aws:iam::222222222222:role/x", "arn:aws-us-gov:iam::222222222222:role/a/b+=,.@-_"] {
            #expect(isRoleARN(arn))
        }
        for arn in [
            "", "role/x", "arn:aws:iam::22222222222:role/x", "arn:aws:iam::222222222222:user/x",
            "arn:aws:iam::222222222222:role/", "arn:aws:sts::222222222222:role/x", "arn:aws:iam::222222222222:role/x y",
        ] { #expect(!isRoleARN(arn)) }
    }

    @Test func `base URLs lose their last slash and have no user`() {
        #expect(baseURL("http://127.0.0.1:9324//") == "http://127.0.0.1:9324")
        for text in ["127.0.0.1:9324", "http://", "http:///", "ftp://a", "http://u:p@a", "http://a?b", "http://a b"] {
            #expect(baseURL(text) == nil)
        }
    }
}
