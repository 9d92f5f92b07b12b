// Part of queuepool. Licensed under the Apache License, Version 2.0; see LICENSE.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <curl/curl.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

// libcurl's setters and getters are variadic, which Swift cannot call: one typed function for each kind of value.

typedef size_t (*queuepool_curl_callback)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode queuepool_curl_set_long(CURL *easy, CURLoption option, long value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode queuepool_curl_set_offset(CURL *easy, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode queuepool_curl_set_text(CURL *easy, CURLoption option, const char *value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode queuepool_curl_set_pointer(CURL *easy, CURLoption option, void *value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode queuepool_curl_set_callback(CURL *easy, CURLoption option, queuepool_curl_callback value) {
    return curl_easy_setopt(easy, option, value);
}
static inline CURLcode queuepool_curl_get_long(CURL *easy, CURLINFO info, long *value) {
    return curl_easy_getinfo(easy, info, value);
}
static inline CURLcode queuepool_curl_get_pointer(CURL *easy, CURLINFO info, void **value) {
    return curl_easy_getinfo(easy, info, value);
}
static inline CURLMcode queuepool_curl_multi_set_long(CURLM *multi, CURLMoption option, long value) {
    return curl_multi_setopt(multi, option, value);
}
// The message's result sits in a union.
static inline CURLcode queuepool_curl_result(const CURLMsg *message) { return message->data.result; }

// libcurl opens sockets without FD_CLOEXEC: a child process would inherit them and keep them open after we closed them.
static inline int queuepool_curl_close_on_exec(void *context, curl_socket_t socket, curlsocktype purpose) {
    (void)context;
    (void)purpose;
    return fcntl(socket, F_SETFD, FD_CLOEXEC) < 0 ? CURL_SOCKOPT_ERROR : CURL_SOCKOPT_OK;
}
static inline CURLcode queuepool_curl_set_close_on_exec(CURL *easy) {
    return curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, queuepool_curl_close_on_exec);
}

// For mail: no connection within 15 s (three more tries after 1, 2, 4 s, and 8 s of waiting) is none. libcurl's limit
// counts the server's greeting in, which may take minutes.
static inline int queuepool_curl_mail_socket(void *context, curl_socket_t socket, curlsocktype purpose) {
    int tries = 3;
    (void)setsockopt(socket, IPPROTO_TCP, TCP_SYNCNT, &tries, sizeof tries);
    return queuepool_curl_close_on_exec(context, socket, purpose);
}
static inline CURLcode queuepool_curl_set_mail_socket(CURL *easy) {
    return curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, queuepool_curl_mail_socket);
}
typedef int (*queuepool_curl_progress)(void *context, curl_off_t, curl_off_t, curl_off_t, curl_off_t);
static inline CURLcode queuepool_curl_set_progress(CURL *easy, queuepool_curl_progress value) {
    return curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, value);
}
typedef int (*queuepool_curl_ready)(void *context, char *remote, char *local, int remotePort, int localPort);
static inline CURLcode queuepool_curl_set_ready(CURL *easy, queuepool_curl_ready value) {
    return curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, value);
}
// Called CURLOPT_MAIL_RCPT_ALLLOWFAILS before libcurl 8.2; the number is one.
static inline CURLcode queuepool_curl_set_recipients_may_fail(CURL *easy) {
    return curl_easy_setopt(easy, (CURLoption)290, 1L);
}
