// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Headers that programs read: URLs, message ids, names of lists. Encoded words have no meaning in most places of them
// (RFC 2047, 5), so that a value in ASCII goes out as it came, look-alikes of encoded words too: the sender meant them.
// An email may come with any characters in these headers, and one that was accepted is not refused later. What is beyond
// ASCII is therefore written in the one way that its place allows: percent-encoded in a URL or message id (RFC 3987, 3.1),
// as encoded words in a phrase, a quoted string (without its quotes, which an encoded word replaces) and a comment.

enum StructuredText {
    /// In lower case. Those of any other name are free text.
    static let names: Set<String> = [
        "archived-at", "authentication-results", "auto-submitted", "autocrypt", "comments-to", "content-language",
        "content-location", "disposition-notification-to", "dkim-signature", "errors-to", "importance", "in-reply-to",
        "keywords", "list-archive", "list-help", "list-id", "list-owner", "list-post", "list-subscribe",
        "list-unsubscribe", "list-unsubscribe-post", "original-message-id", "precedence", "priority", "references",
        "resent-bcc", "resent-cc", "resent-date", "resent-from", "resent-message-id", "resent-sender", "resent-to",
        "return-receipt-to", "sensitivity", "supersedes",
    ]

    /// The value's words, in ASCII. Blanks in a row count as one.
    static func words(_ value: String) -> [String] {
        var words: [String] = []
        // Words beyond ASCII that stand side by side: blanks between two encoded words are not shown.
        var run: [Substring] = []
        func end() {
            if !run.isEmpty { words += HeaderText.encodedWords(run.joined(separator: " "), after: "") }
            run = []
        }
        for token in tokens(value) {
            if token.text.utf8.allSatisfy({ $0 < 127 }) {
                end()
                words.append(String(token.text))
            } else if token.isVerbatim {
                end()
                words.append(percentEncoded(token.text))
            } else {
                run.append(token.text)
            }
        }
        end()
        return words
    }

    /// - Returns: words between blanks; if something is beyond ASCII, those in quotes without them, and brackets and
    ///   commas apart, for an encoded word must not touch them (RFC 2047, 5 (2) and (3)).
    private static func tokens(_ value: String) -> [(text: Substring, isVerbatim: Bool)] {
        guard value.utf8.contains(where: { $0 >= 127 }) else { return value.split(separator: " ").map { ($0, false) } }
        var tokens: [(text: Substring, isVerbatim: Bool)] = []
        var rest = value[...]
        while let first = rest.first {
            if first == " " {
                rest.removeFirst()
                continue
            }
            let quoted = first == "\"" ? rest.dropFirst().firstIndex(of: "\"") : nil
            if let quoted, rest[...quoted].utf8.contains(where: { $0 >= 127 }) {
                tokens.append((rest[rest.index(after: rest.startIndex)..<quoted], false))
                rest = rest[rest.index(after: quoted)...]
            } else if "(),;".contains(first) {
                tokens.append((rest.prefix(1), false))
                rest.removeFirst()
            } else {
                let word = first == "<" ? rest.prefix { $0 != " " && $0 != ">" } : rest.prefix { !" (),;".contains($0) }
                let end = first == "<" && rest[word.endIndex...].first == ">" ? 1 : 0
                let whole = rest.prefix(word.count + end)
                tokens.append((whole, first == "<" || whole.contains("://")))
                rest = rest[whole.endIndex...]
            }
        }
        return tokens
    }

    private static func percentEncoded(_ text: Substring) -> String {
        text.utf8.map { $0 < 127 ? String(UnicodeScalar($0)) : "%" + HeaderText.hex($0) }.joined()
    }
}
