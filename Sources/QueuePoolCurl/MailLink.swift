// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolCurl
import Glibc

/// libcurl's handle for mails, with the connections that it keeps for the next one. For one thread only.
final class MailLink {
    private let easy: UnsafeMutableRawPointer
    private let limits: MailLimits
    private let now: TransferTime

    init?(limits: MailLimits, now: @escaping TransferTime) {
        guard let easy = curl_easy_init() else { return nil }
        self.easy = easy
        self.limits = limits
        self.now = now
    }

    deinit { curl_easy_cleanup(easy) }

    /// Hands a mail over and waits for what comes of it.
    /// - Parameter stop: why to give up, asked once a second at least.
    func send(_ mail: MailTransfer, stop: @escaping () -> CurlError?) -> MailResult {
        let texts = [mail.url, mail.from, mail.user ?? "", mail.password ?? ""] + mail.recipients
        guard !mail.recipients.isEmpty, !texts.contains(where: CurlTransfer.breaksLine) else { return .invalid }
        let (attempt, error) = perform(mail, stop, isNew: false)
        var connections = 0
        queuepool_curl_get_long(easy, CURLINFO_NUM_CONNECTS, &connections)
        // The server may have closed a kept connection, or said 421 over it, just when this mail came.
        if connections == 0, attempt.fault == nil, attempt.conversation.endedEarly {
            let (second, error) = perform(mail, stop, isNew: true)
            return second.result(error)
        }
        return attempt.result(error)
    }

    private func perform(
        _ mail: MailTransfer, _ stop: @escaping () -> CurlError?, isNew: Bool
    ) -> (MailAttempt, CurlError?) {
        let attempt = MailAttempt(mail, limits, now, stop)
        // Keeps connections.
        curl_easy_reset(easy)
        set(mail)
        if isNew { queuepool_curl_set_long(easy, CURLOPT_FRESH_CONNECT, 1) }
        var list: UnsafeMutablePointer<curl_slist>?
        for recipient in mail.recipients { list = curl_slist_append(list, "<\(recipient)>") }
        queuepool_curl_set_pointer(easy, CURLOPT_MAIL_RCPT, list)
        let code = withExtendedLifetime(attempt) {
            listen(attempt)
            return curl_easy_perform(easy)
        }
        // The list and the attempt are gone before the handle is used again.
        queuepool_curl_set_pointer(easy, CURLOPT_MAIL_RCPT, nil)
        curl_slist_free_all(list)
        guard code != CURLE_OK else { return (attempt, nil) }
        return (attempt, attempt.fault ?? CurlTransfer.error(code, status: 0))
    }

    private func set(_ mail: MailTransfer) {
        queuepool_curl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        queuepool_curl_set_mail_socket(easy)
        queuepool_curl_set_text(easy, CURLOPT_URL, mail.url)
        queuepool_curl_set_text(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps")
        let encryption = mail.requiresTLS ? CURLUSESSL_ALL : CURLUSESSL_NONE
        queuepool_curl_set_long(easy, CURLOPT_USE_SSL, Int(encryption.rawValue))
        queuepool_curl_set_long(easy, CURLOPT_SSL_VERIFYPEER, 1)
        queuepool_curl_set_long(easy, CURLOPT_SSL_VERIFYHOST, 2)
        if let user = mail.user { queuepool_curl_set_text(easy, CURLOPT_USERNAME, user) }
        if let password = mail.password { queuepool_curl_set_text(easy, CURLOPT_PASSWORD, password) }
        queuepool_curl_set_text(easy, CURLOPT_MAIL_FROM, "<\(mail.from)>")
        queuepool_curl_set_recipients_may_fail(easy)
        queuepool_curl_set_long(easy, CURLOPT_UPLOAD, 1)
        queuepool_curl_set_offset(easy, CURLOPT_INFILESIZE_LARGE, curl_off_t(mail.payload.count))
        // The attempt's own limits come first: they know what is waited for. These are libcurl's, which knows real time
        // alone. To libcurl, connecting is everything
        // before MAIL.
        let total = Int(limits.total(bytes: mail.payload.count))
        queuepool_curl_set_long(easy, CURLOPT_TIMEOUT_MS, total)
        queuepool_curl_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, total)
        queuepool_curl_set_long(easy, CURLOPT_SERVER_RESPONSE_TIMEOUT, total / 1_000 + 1)
    }

    private func listen(_ attempt: MailAttempt) {
        let context = Unmanaged.passUnretained(attempt).toOpaque()
        queuepool_curl_set_callback(easy, CURLOPT_READFUNCTION) { bytes, size, count, context in
            MailAttempt.from(context)?.give(bytes, size * count) ?? 0
        }
        queuepool_curl_set_pointer(easy, CURLOPT_READDATA, context)
        queuepool_curl_set_callback(easy, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
            MailAttempt.from(context)?.take(bytes, size * count)
            return size * count
        }
        queuepool_curl_set_pointer(easy, CURLOPT_HEADERDATA, context)
        // Without this, libcurl writes to standard output.
        queuepool_curl_set_callback(easy, CURLOPT_WRITEFUNCTION) { _, size, count, _ in size * count }
        queuepool_curl_set_ready(easy) { context, _, _, _, _ in
            MailAttempt.from(context)?.isReady() == true ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
        }
        queuepool_curl_set_pointer(easy, CURLOPT_PREREQDATA, context)
        queuepool_curl_set_progress(easy) { context, _, _, _, _ in
            MailAttempt.from(context)?.mustEnd() == true ? 1 : 0
        }
        queuepool_curl_set_pointer(easy, CURLOPT_XFERINFODATA, context)
        queuepool_curl_set_long(easy, CURLOPT_NOPROGRESS, 0)
    }
}

/// What libcurl's callbacks meet while one mail is under way.
private final class MailAttempt {
    private(set) var conversation: MailConversation
    /// Why it was given up from here.
    private(set) var fault: CurlError?
    private let payload: [UInt8]
    private let mayBegin: (@Sendable () -> Bool)?
    /// It was not let begin, and the server has nothing of the mail.
    private var isNotBegun = false
    private var offset = 0
    private let limits: MailLimits
    private let stop: () -> CurlError?
    /// When something last came or went.
    private var movedAt: Int64
    private let now: TransferTime

    init(
        _ mail: MailTransfer, _ limits: MailLimits, _ now: @escaping TransferTime, _ stop: @escaping () -> CurlError?
    ) {
        self.now = now
        movedAt = now()
        conversation = MailConversation(recipientCount: mail.recipients.count)
        payload = mail.payload
        mayBegin = mail.mayBegin
        self.limits = limits
        self.stop = stop
    }

    static func from(_ context: UnsafeMutableRawPointer?) -> MailAttempt? {
        context.map { Unmanaged<MailAttempt>.fromOpaque($0).takeUnretainedValue() }
    }

    func result(_ error: CurlError?) -> MailResult {
        isNotBegun ? .unavailable(.cancelled) : conversation.result(error)
    }

    /// - Returns: whether MAIL may go out.
    func isReady() -> Bool {
        conversation.isReady()
        movedAt = now()
        return begins()
    }

    private func begins() -> Bool {
        guard mayBegin?() == false else { return true }
        isNotBegun = true
        fault = .cancelled
        return false
    }

    func take(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) {
        guard let bytes else { return }
        conversation.take(line: UnsafeRawBufferPointer(start: bytes, count: count))
        movedAt = now()
    }

    func give(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) -> Int {
        guard let bytes else { return 0 }
        // Without the dot at its end, a mail is none.
        if offset == 0, !begins() { return Int(CURL_READFUNC_ABORT) }
        let amount = min(count, payload.count - offset)
        payload.withUnsafeBytes { all in
            UnsafeMutableRawBufferPointer(start: bytes, count: amount)
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: all[offset..<(offset + amount)]))
        }
        offset += amount
        movedAt = now()
        return amount
    }

    /// Whether it is to be given up: told so, or the server has been silent for too long.
    func mustEnd() -> Bool {
        if fault == nil, conversation.phase != .over { fault = stop() }
        if fault == nil, now() - movedAt > limits.silence(in: conversation.phase) { fault = .timeout }
        return fault != nil
    }
}
