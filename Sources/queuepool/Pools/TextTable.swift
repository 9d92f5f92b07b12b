// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Rows of text in aligned columns: the first to the left, the others, which hold numbers, to the right.
struct TextTable: Hashable, Sendable {
    var head: [String]
    var rows: [[String]]

    /// The table, each line ended by a line feed.
    var text: String {
        let all = [head] + rows
        let widths = head.indices.map { column in all.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
        return all.map { row in
            let cells = row.enumerated().map { column, cell in
                let blanks = String(repeating: " ", count: max(0, widths[column] - cell.count))
                return column == 0 ? cell + blanks : blanks + cell
            }
            return cells.joined(separator: "  ") + "\n"
        }.joined()
    }

    init(_ list: PoolList) {
        head = ["POOL", "EPOCH", "SHARDS", "BACKLOG", "IN FLIGHT", "DELAYED", "OLDEST"]
        rows = list.pools.map {
            [
                $0.name, "\($0.epoch)", "\($0.shards)", "\($0.backlog)", "\($0.inFlight)", "\($0.delayed)",
                age($0.oldestAgeSeconds),
            ]
        }
    }

    init(_ pool: PoolDetail) {
        head = [
            "SHARD", "SLOTS", "BACKLOG", "IN FLIGHT", "DELAYED", "OLDEST", "SENT/S", "DELETED/S", "LEASE", "OWNER",
        ]
        rows = pool.shards.map {
            [
                $0.name, "\($0.slots)", "\($0.backlog)", "\($0.inFlight)", "\($0.delayed)", age($0.oldestAgeSeconds),
                rate($0.sentPerSecond), rate($0.deletedPerSecond), age($0.leaseAgeSeconds), $0.owner ?? "-",
            ]
        }
        let slots = pool.shards.reduce(0) { $0 + $1.slots }
        rows.append([
            pool.name, "\(slots)", "\(pool.backlog)", "\(pool.inFlight)", "\(pool.delayed)",
            age(pool.oldestAgeSeconds), rate(TextTable.sum(pool.shards.map(\.sentPerSecond))),
            rate(TextTable.sum(pool.shards.map(\.deletedPerSecond))),
        ])
    }

    /// `nil` if one of them is not known.
    private static func sum(_ values: [Double?]) -> Double? {
        let known = values.compactMap { $0 }
        return known.count == values.count ? known.reduce(0, +) : nil
    }

    init(head: [String], rows: [[String]]) {
        self.head = head
        self.rows = rows
    }
}

/// `12s`, `3m05s`, `2h03m`, `4d02h`; `-` if nobody knows.
func age(_ seconds: Double?) -> String {
    guard let seconds else { return "-" }
    let whole = Int(max(0, min(seconds, 1e12)))
    func pair(_ big: Int, _ bigUnit: String, _ small: Int, _ smallUnit: String) -> String {
        "\(big)\(bigUnit)\(small < 10 ? "0" : "")\(small)\(smallUnit)"
    }
    return switch whole {
    case ..<60: "\(whole)s"
    case ..<3_600: pair(whole / 60, "m", whole % 60, "s")
    case ..<86_400: pair(whole / 3_600, "h", whole / 60 % 60, "m")
    default: pair(whole / 86_400, "d", whole / 3_600 % 24, "h")
    }
}

/// Messages a second, e.g. `0`, `7.5`, `1250`; `-` if nobody knows.
func rate(_ perSecond: Double?) -> String {
    guard let perSecond else { return "-" }
    return perSecond >= 100 || perSecond == 0 ? "\(Int(perSecond.rounded()))" : "\((perSecond * 10).rounded() / 10)"
}
