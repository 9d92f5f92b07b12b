// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Values that a repeated flag gives to single shards: `--shard-region 4-7=us-west-2 --shard-region 0,2=eu-west-1`.

/// The shards that a text such as `0-3` or `0,2,4-7` names, each as often as it does; `nil` if it is none.
package func shardNumbers(_ text: String) -> [Int]? {
    guard isShardSelection(text) else { return nil }
    return text.split(separator: ",").flatMap { part -> [Int] in
        let ends = part.split(separator: "-").compactMap { Int($0) }
        guard let first = ends.first, let last = ends.last, first <= last else { return [] }
        return Array(first...last)
    }
}

/// Why values of shards cannot be used, without the flag's name.
package struct ShardValuesError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
}

/// Values of single shards by the shards' numbers.
/// - Parameters:
///   - texts: each SHARDS=VALUE.
///   - count: of the pool's shards.
///   - allowed: what a value is, for who wrote another.
///   - value: the value that is meant; `nil` if the text is none.
package func shardValues(
    _ texts: [String], count: Int, allowed: String, _ value: (String) -> String?
) throws(ShardValuesError) -> [Int: String] {
    var values: [Int: String] = [:]
    for text in texts {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, let numbers = shardNumbers(parts[0]) else {
            throw ShardValuesError(description: "'\(text)'; allowed: SHARDS=VALUE, where SHARDS is 3, 0-3 or 0,2,4-7")
        }
        guard let meant = value(parts[1]) else {
            throw ShardValuesError(description: "'\(parts[1])'; allowed: \(allowed)")
        }
        for number in numbers {
            guard number < count else {
                throw ShardValuesError(description: "shard \(number); the pool's shards are 0...\(count - 1)")
            }
            guard values.updateValue(meant, forKey: number) == nil else {
                throw ShardValuesError(description: "shard \(number) is named twice")
            }
        }
    }
    return values
}

/// Whether a text has the form of a region's name: `eu-central-1`, `us-gov-west-1`, `ru-central1`.
package func isRegionName(_ text: String) -> Bool {
    let words = text.split(separator: "-", omittingEmptySubsequences: false)
    return (2...6).contains(words.count) && text.utf8.count <= 63
        && words.allSatisfy { word in
            !word.isEmpty && word.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) }
        }
        && words[0].utf8.allSatisfy { (97...122).contains($0) } && text.utf8.last.map { (48...57).contains($0) } == true
}

/// Whether a text has the form of a role's ARN: `arn:aws:iam::222222222222:role/name`.
package func isRoleARN(_ text: String) -> Bool {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 6, parts[0] == "arn", parts[1] == "aws" || parts[1].hasPrefix("aws-"), parts[2] == "iam",
        parts[3].isEmpty, parts[4].utf8.count == 12, parts[4].utf8.allSatisfy({ (48...57).contains($0) })
    else { return false }
    // Letters, digits and what else IAM takes in names and paths: + = , . @ - _ /
    let name = parts[5].dropFirst("role/".count)
    return parts[5].hasPrefix("role/") && (1...576).contains(name.utf8.count) && !name.hasSuffix("/")
        && name.utf8.allSatisfy {
            (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0)
                || "+=,.@-_/".utf8.contains($0)
        }
}

/// A service's base URL as it is remembered: without a slash at its end; `nil` if the text is none.
package func baseURL(_ text: String) -> String? {
    // What belongs to a user or follows a path would be kept in the control store, and mean nothing there.
    guard isHTTPAddress(text), !text.contains(where: { $0 == "@" || $0 == "?" || $0 == "#" || $0.isWhitespace }) else {
        return nil
    }
    let trimmed = String(text.reversed().drop { $0 == "/" }.reversed())
    return isHTTPAddress(trimmed) ? trimmed : nil
}
