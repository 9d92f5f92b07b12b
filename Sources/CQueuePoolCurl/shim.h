// Part of queuepool. Licensed under the Apache License, Version 2.0; see LICENSE.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <curl/curl.h>
#include <fcntl.h>

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
