// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The files that the AWS CLI and SDKs share. `[default]` and `[profile NAME]` in config, `[NAME]` in credentials, where
// the credentials file wins key by key. An indented line below an empty value belongs to that key.
// Source: docs.aws.amazon.com/sdkref/latest/guide/file-format.html

/// Sections of the shared config and credentials files.
package struct ProfileFile: Sendable {
    /// By name, then by key; a nested key is `outer.inner`.
    private(set) var profiles: [String: [String: String]] = [:]
    private(set) var services: [String: [String: String]] = [:]

    package init() {}

    package init(config: String?, credentials: String?) {
        if let config { read(config, isConfig: true) }
        if let credentials { read(credentials, isConfig: false) }
    }

    package func profile(_ name: String) -> [String: String]? { profiles[name] }

    /// `endpoint_url` for one service: of the profile's `services` section, then its own.
    package func endpoint(service: String, profile name: String) -> String? {
        guard let profile = profiles[name] else { return nil }
        if let section = profile["services"], let url = services[section]?["\(service).endpoint_url"] { return url }
        return profile["endpoint_url"]
    }

    private mutating func read(_ text: String, isConfig: Bool) {
        enum Section {
            case profile(String)
            case services(String)
            case other
        }
        var section = Section.other
        var outer: String?
        for line in text.split(whereSeparator: \.isNewline) {
            let content = Self.trim(line)
            guard let first = content.first, first != "#", first != ";" else { continue }
            if first == "[" {
                outer = nil
                let words = content.dropFirst().prefix { $0 != "]" }.split { $0 == " " || $0 == "\t" }
                switch (words.first, words.count) {
                case (let name?, 1) where !isConfig || name == "default":
                    section = .profile(String(name))
                case ("profile", 2) where isConfig:
                    section = .profile(String(words[1]))
                case ("services", 2) where isConfig:
                    section = .services(String(words[1]))
                default:
                    section = .other
                }
                if case .profile(let name) = section, profiles[name] == nil { profiles[name] = [:] }
                continue
            }
            guard let equals = content.firstIndex(of: "=") else { continue }
            var key = Self.trim(content[..<equals]).lowercased()
            let value = String(Self.trim(Self.withoutComment(content[content.index(after: equals)...])))
            if line.first == " " || line.first == "\t", let outer {
                key = "\(outer).\(key)"
            } else {
                outer = value.isEmpty ? key : nil
            }
            switch section {
            case .profile(let name): profiles[name, default: [:]][key] = value
            case .services(let name): services[name, default: [:]][key] = value
            case .other: break
            }
        }
    }

    private static func trim(_ text: Substring) -> Substring {
        var text = text
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return text.drop(while: \.isWhitespace)
    }

    /// A comment within a line begins after a blank: keys may hold `#`.
    private static func withoutComment(_ value: Substring) -> Substring {
        var wasBlank = true
        for index in value.indices {
            if wasBlank, value[index] == "#" || value[index] == ";" { return value[..<index] }
            wasBlank = value[index].isWhitespace
        }
        return value
    }
}
