// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolCurl

// One transfer: libcurl's handle, what it reads from and writes to. Made by the caller, then touched by the engine's
// thread only.

final class CurlTransfer {
    let lane: CurlLane
    private(set) var party: TransferParty?
    let timeoutMilliseconds: Int
    private let answerBytesMax: Int

    let easy: UnsafeMutableRawPointer
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private(set) var answer: [UInt8] = []
    private(set) var headers: [(name: String, value: String)] = []
    private var isTooLarge = false
    private var mayBegin: (@Sendable () -> Bool)?
    private var isNotBegun = false

    private init?(_ lane: CurlLane, timeoutMilliseconds: Int, answerBytesMax: Int = 1 << 20) {
        guard let easy = curl_easy_init() else { return nil }
        self.easy = easy
        self.lane = lane
        self.timeoutMilliseconds = timeoutMilliseconds
        self.answerBytesMax = answerBytesMax
        let context = Unmanaged.passUnretained(self).toOpaque()
        queuepool_curl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        queuepool_curl_set_close_on_exec(easy)
        queuepool_curl_set_pointer(easy, CURLOPT_PRIVATE, context)
        queuepool_curl_set_callback(easy, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
            CurlTransfer.from(context)?.take(bytes, size * count) ?? 0
        }
        queuepool_curl_set_pointer(easy, CURLOPT_WRITEDATA, context)
    }

    /// Sets what is left of the time limit; before the transfer begins.
    func limit(milliseconds: Int64) {
        queuepool_curl_set_long(easy, CURLOPT_TIMEOUT_MS, Int(clamping: max(1, milliseconds)))
    }

    deinit {
        curl_easy_cleanup(easy)
        curl_slist_free_all(headerList)
    }

    static func from(_ context: UnsafeMutableRawPointer?) -> CurlTransfer? {
        context.map { Unmanaged<CurlTransfer>.fromOpaque($0).takeUnretainedValue() }
    }

    // MARK: - Kinds

    static func http(_ request: HTTPRequest) -> CurlTransfer? {
        let texts = [request.url, request.method] + request.headers.flatMap { [$0.name, $0.value] }
        guard !texts.contains(where: breaksLine),
            let transfer = CurlTransfer(
                request.lane, timeoutMilliseconds: request.timeoutMilliseconds, answerBytesMax: request.answerBytesMax)
        else { return nil }
        transfer.party = request.party
        let easy = transfer.easy
        queuepool_curl_set_text(easy, CURLOPT_URL, request.url)
        queuepool_curl_set_text(easy, CURLOPT_PROTOCOLS_STR, "http,https")
        queuepool_curl_set_text(easy, CURLOPT_CUSTOMREQUEST, request.method)
        queuepool_curl_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, 10_000)
        queuepool_curl_set_long(easy, CURLOPT_TCP_NODELAY, 1)
        // HTTP/2 where a TLS server offers it; no waiting to see whether a connection under way will share itself.
        queuepool_curl_set_long(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS)
        queuepool_curl_set_long(easy, CURLOPT_PIPEWAIT, 0)
        TransferTLS.set(request.tls, on: easy)
        // The path is signed, or named by somebody: it goes out as it is, dot segments too.
        queuepool_curl_set_long(easy, CURLOPT_PATH_AS_IS, 1)
        if !request.body.isEmpty || request.method == "POST" {
            queuepool_curl_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(request.body.count))
            // Copied by libcurl: the array may move.
            _ = request.body.withUnsafeBytes { bytes in
                if let base = bytes.baseAddress {
                    queuepool_curl_set_pointer(easy, CURLOPT_COPYPOSTFIELDS, UnsafeMutableRawPointer(mutating: base))
                } else {
                    queuepool_curl_set_text(easy, CURLOPT_COPYPOSTFIELDS, "")
                }
            }
        }
        // No "Expect: 100-continue": it costs a round trip, and our server takes bodies at once.
        transfer.headerList = curl_slist_append(nil, "Expect:")
        for (name, value) in request.headers {
            // libcurl takes `name:` for "leave this header out", and `name;` for an empty one.
            transfer.headerList = curl_slist_append(
                transfer.headerList, value.isEmpty ? "\(name);" : "\(name): \(value)")
        }
        if let token = request.tls?.token?.text {
            guard !breaksLine(token) else { return nil }
            transfer.headerList = curl_slist_append(transfer.headerList, "Authorization: Bearer \(token)")
            // A redirect is an answer here: nobody else gets the token. And a proxy would read it.
            if !request.url.hasPrefix("https:") { queuepool_curl_set_text(easy, CURLOPT_PROXY, "") }
        }
        queuepool_curl_set_pointer(easy, CURLOPT_HTTPHEADER, transfer.headerList)
        queuepool_curl_set_callback(easy, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
            CurlTransfer.from(context)?.takeHeader(bytes, size * count) ?? 0
        }
        let context = Unmanaged.passUnretained(transfer).toOpaque()
        queuepool_curl_set_pointer(easy, CURLOPT_HEADERDATA, context)
        if let mayBegin = request.mayBegin {
            transfer.mayBegin = mayBegin
            queuepool_curl_set_ready(easy) { context, _, _, _, _ in
                CurlTransfer.from(context)?.begins() == true ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
            }
            queuepool_curl_set_pointer(easy, CURLOPT_PREREQDATA, context)
        }
        return transfer
    }

    /// What would end a line of the protocol and begin another.
    static func breaksLine(_ text: String) -> Bool { text.utf8.contains { $0 == 0 || $0 == 10 || $0 == 13 } }

    private func begins() -> Bool {
        isNotBegun = mayBegin?() == false
        return !isNotBegun
    }

    // MARK: - Bytes

    private func take(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) -> Int {
        guard let bytes, answer.count + count <= answerBytesMax else {
            isTooLarge = true
            return 0
        }
        answer.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
        return count
    }

    private func takeHeader(_ bytes: UnsafeMutablePointer<CChar>?, _ count: Int) -> Int {
        guard let bytes else { return 0 }
        let line = String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
        if line.hasPrefix("HTTP/") {
            headers = []
        } else if let colon = line.firstIndex(of: ":") {
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            headers.append((String(line[..<colon]), String(value.prefix { !$0.isNewline })))
        }
        return count
    }

    // MARK: - End

    func result(_ code: CURLcode) -> Result<HTTPResponse, CurlFailure> {
        var status = 0
        queuepool_curl_get_long(easy, CURLINFO_RESPONSE_CODE, &status)
        if code == CURLE_OK { return .success(HTTPResponse(status: status, headers: headers, body: answer)) }
        if isNotBegun { return .failure(failure(.cancelled)) }
        if isTooLarge { return .failure(failure(.answerTooLarge(limit: answerBytesMax))) }
        var failed = failure(CurlTransfer.error(code, status: status))
        var verification = 0
        queuepool_curl_get_long(easy, CURLINFO_SSL_VERIFYRESULT, &verification)
        failed.tls = TLSTrouble(code, verification: verification)
        return .failure(failed)
    }

    func failure(_ error: CurlError) -> CurlFailure {
        var sentBytes = 0
        queuepool_curl_get_long(easy, CURLINFO_REQUEST_SIZE, &sentBytes)
        return CurlFailure(error: error, wasSent: sentBytes > 0)
    }

    static func error(_ code: CURLcode, status: Int) -> CurlError {
        switch code {
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_PROXY: .unreachable
        case CURLE_OPERATION_TIMEDOUT: .timeout
        // Not CURLE_SSL_CONNECT_ERROR: a handshake that is reset ends with it, and that is a lost connection.
        case CURLE_USE_SSL_FAILED, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER,
            CURLE_SSL_CACERT_BADFILE:
            .tls
        case _ where status >= 400: .refused(code: status)
        default: .other(code: Int(code.rawValue))
        }
    }
}
