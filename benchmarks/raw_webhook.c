// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What libcurl alone needs to post messages to a webhook: the ceiling for a worker's deliveries. One thread, one multi
// handle, some requests under way, each with a body and the headers of a delivery; only the id changes. Nothing is
// received, deleted or read. Prints JSON.
//
// usage: raw_webhook SECONDS BODY_BYTES UNDER_WAY URL

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef struct {
    CURL *easy;
    struct curl_slist *head;
} transfer;

static unsigned long next_id;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double cpu(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static size_t ignore(char *bytes, size_t size, size_t count, void *context) {
    (void)bytes;
    (void)context;
    return size * count;
}

/// The headers of a message that no request was for.
static void renew(transfer *t) {
    char id[96], key[96], group[96];
    unsigned long number = next_id++;
    snprintf(id, sizeof id, "X-Queuepool-Message-Id: 00000000-0000-0000-0000-%012lu", number);
    snprintf(key, sizeof key, "Idempotency-Key: 00000000-0000-0000-0000-%012lu", number);
    snprintf(group, sizeof group, "X-Queuepool-Group: g%lu", number % 1000);
    curl_slist_free_all(t->head);
    t->head = curl_slist_append(NULL, "Content-Type: application/json");
    t->head = curl_slist_append(t->head, id);
    t->head = curl_slist_append(t->head, key);
    t->head = curl_slist_append(t->head, group);
    t->head = curl_slist_append(t->head, "X-Queuepool-Attempt: 1");
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->head);
}

int main(int count, char **words) {
    if (count != 5) return fprintf(stderr, "usage: raw_webhook SECONDS BODY_BYTES UNDER_WAY URL\n"), 64;
    double seconds = atof(words[1]);
    long body_bytes = atol(words[2]), requests = 0, failures = 0;
    int under_way = atoi(words[3]);
    char *body = malloc((size_t)body_bytes + 1);
    memset(body, 'x', (size_t)body_bytes);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURLM *multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)under_way);
    transfer *all = calloc((size_t)under_way, sizeof *all);
    for (int place = 0; place < under_way; place++) {
        transfer *t = &all[place];
        t->easy = curl_easy_init();
        curl_easy_setopt(t->easy, CURLOPT_URL, words[4]);
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE, body_bytes);
        curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, ignore);
        curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
        curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
        renew(t);
        curl_multi_add_handle(multi, t->easy);
    }
    double began = now(), end = began + seconds, used = cpu();
    int running = 1;
    while (running > 0) {
        curl_multi_perform(multi, &running);
        CURLMsg *message;
        int left;
        while ((message = curl_multi_info_read(multi, &left))) {
            transfer *t;
            long status = 0;
            CURL *easy = message->easy_handle;
            CURLcode result = message->data.result;
            curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&t);
            curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
            requests++;
            if (result != CURLE_OK || status != 200) failures++;
            curl_multi_remove_handle(multi, easy);
            if (now() < end) {
                renew(t);
                curl_multi_add_handle(multi, easy);
                running++;
            }
        }
        if (running > 0) curl_multi_poll(multi, NULL, 0, 100, NULL);
    }
    double took = now() - began;
    used = cpu() - used;
    long messages = requests - failures;
    printf("{\"requests\":%ld,\"failures\":%ld,\"messages_per_second\":%.0f,\"cpu_us_per_message\":%.2f}\n", requests,
           failures, (double)messages / took, messages ? used / (double)messages * 1e6 : 0);
    return failures ? 1 : 0;
}
