// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Which store has which shard depends on how many stores there are, so a start with one file less would take every shard
// for one that has no message yet. Each file therefore says which directory it is of, which of its stores it is, and how
// many there are. All files are made before the first label is written, and labels are written from the last file to the
// first: a label in store-0 means that every file has one.

/// What a store's file says of its place.
struct StoreLabel: Hashable {
    /// Random; the same in all files of a directory.
    let directory: Int64
    let number: Int
    /// How many stores the directory has.
    let count: Int
}

/// What was found in a store's file.
struct StoreFacts: Hashable {
    var label: StoreLabel?
    var shards: Set<String> = []
}

/// Why the files of a directory are no whole set of stores.
package enum StoreSetError: Error, Hashable, CustomStringConvertible {
    /// The directory was made with more files than there are.
    case missing(file: String, count: Int)
    /// The file's log is there and the file is not. A file made in its place would write over the log, and what that holds.
    case onlyLog(file: String, log: String)
    /// The file was not made with the others.
    case foreign(file: String, reason: String)
    /// Two files hold a shard of the same name.
    case twice(shard: String, files: [String])
    /// A shard lies in another file than the one its number leads to, so a file is missing or was renamed.
    case misplaced(shard: String, file: String, expected: String)

    package var description: String {
        switch self {
        case .missing(let file, let count):
            "\(file) is missing: the directory was made with \(count) stores, and each holds messages of its own. "
                + "Put the file back, or the whole directory from one copy"
        case .onlyLog(let file, let log):
            "\(file) is missing, and its log \(log) is there: the log may hold messages, and they are of no use "
                + "without the file. Put the file back, or the whole directory from one copy"
        case .foreign(let file, let reason):
            "\(file) does not belong to the other stores of its directory: \(reason). "
                + "Put the right file back, or the whole directory from one copy"
        case .twice(let shard, let files):
            "the shard \(shard) is in \(files.joined(separator: " and in ")): one of the files is a copy or was renamed"
        case .misplaced(let shard, let file, let expected):
            "the shard \(shard) is in \(file), and with the files that are there it belongs in \(expected): "
                + "a file is missing or was renamed"
        }
    }
}

/// What has to be done before the stores of a directory are opened.
struct StoreSet: Hashable {
    let count: Int
    /// Files that are to be made, in this order.
    let making: [Int]
    /// Files that get a label after that, in this order.
    let labelling: [Int]
    /// The id for new labels; `nil` if it must be chosen.
    let directory: Int64?

    /// Decides from what is in a directory.
    /// - Parameters:
    ///   - files: what was found, by the number in the file's name.
    ///   - wanted: how many stores a new directory gets.
    ///   - name: the file's name for messages.
    ///   - place: the number of the store that a shard belongs to, among so many.
    init(
        _ files: [Int: StoreFacts], wanted: Int, name: (Int) -> String, place: (_ shard: String, _ count: Int) -> Int
    ) throws(StoreSetError) {
        let labelled = files.filter { $0.value.label != nil }.sorted { $0.key < $1.key }
        // The first file has the last word: it is labelled when all others are.
        if let label = labelled.first?.value.label {
            count = label.count
            directory = label.directory
            making = []
            labelling = try StoreSet.unlabelled(files, label, name)
        } else {
            directory = nil
            let highest = (files.keys.max() ?? -1) + 1
            if files.values.contains(where: { !$0.shards.isEmpty }) {
                // Made before there were labels.
                count = highest
                making = []
                for number in 0..<highest where files[number] == nil {
                    throw .missing(file: name(number), count: highest)
                }
            } else {
                // New, or its making was interrupted.
                count = max(wanted, highest, 1)
                making = (0..<count).reversed().filter { files[$0] == nil }
            }
            labelling = (0..<count).reversed()
        }
        try StoreSet.checkPlaces(files, count, name, place)
    }

    /// The files that lack a label because their labelling was interrupted, the last one first.
    private static func unlabelled(
        _ files: [Int: StoreFacts], _ expected: StoreLabel, _ name: (Int) -> String
    ) throws(StoreSetError) -> [Int] {
        let sorted = files.sorted { $0.key < $1.key }
        let first = sorted.first { $0.value.label != nil }?.key ?? 0
        for (number, facts) in sorted {
            if let label = facts.label, label.directory != expected.directory || label.count != expected.count {
                let reason = "it and \(name(first)) were made in different directories"
                throw .foreign(file: name(number), reason: reason)
            }
        }
        for number in 0..<expected.count where files[number] == nil {
            throw .missing(file: name(number), count: expected.count)
        }
        for (number, facts) in sorted {
            let file = name(number)
            guard number < expected.count else {
                throw .foreign(file: file, reason: "the directory has \(expected.count) stores")
            }
            guard let label = facts.label else {
                // Before the first labelled file it may be waiting for its label, behind it not.
                if files[0]?.label != nil || files[number - 1]?.label != nil {
                    throw .foreign(file: file, reason: "it has no label, and the others have one")
                }
                continue
            }
            if label.number != number {
                throw .foreign(file: file, reason: "it was made as \(name(label.number))")
            }
        }
        let waiting = files.filter { $0.value.label == nil }
        let holdsShards = { (facts: StoreFacts) in !facts.shards.isEmpty }
        // Every pool has a shard in store-0, so among files with shards an empty one has taken another one's place.
        if let first = files[0], first.label == nil, !holdsShards(first), files.values.contains(where: holdsShards) {
            throw .foreign(file: name(0), reason: "it is empty, and the others hold shards")
        }
        return waiting.keys.sorted(by: >)
    }

    private static func checkPlaces(
        _ files: [Int: StoreFacts], _ count: Int, _ name: (Int) -> String, _ place: (String, Int) -> Int
    ) throws(StoreSetError) {
        var places: [String: Int] = [:]
        let sorted = files.sorted { $0.key < $1.key }
        for (number, facts) in sorted {
            for shard in facts.shards.sorted() {
                if let other = places.updateValue(number, forKey: shard) {
                    throw .twice(shard: shard, files: [name(other), name(number)])
                }
            }
        }
        for (number, facts) in sorted {
            for shard in facts.shards.sorted() where place(shard, count) != number {
                throw .misplaced(shard: shard, file: name(number), expected: name(place(shard, count)))
            }
        }
    }
}
