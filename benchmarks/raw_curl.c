// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What libcurl alone needs to send full batches: the ceiling for a router's CPU a message. One thread, one multi handle,
// some requests under way at each server; every request is the same SendMessageBatch of ten messages with a head that is as
// long as a signed one, and only its deduplication ids change. Nothing is signed, read or kept. Prints JSON.
//
// usage: raw_curl SECONDS BODY_BYTES UNDER_WAY QUEUE_URL...

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { entries = 10, id_digits = 20 };

typedef struct {
    CURL *easy;
    char *body;
    size_t length;
    char *ids[entries];
} transfer;

static long requests, failures;
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

/// Ids and groups that no request has had.
static void renew(transfer *t) {
    char digits[id_digits + 1];
    for (int entry = 0; entry < entries; entry++) {
        snprintf(digits, sizeof digits, "%020lu", next_id++);
        memcpy(t->ids[entry], digits, id_digits);
    }
}

static void prepare(transfer *t, const char *queue, int body_bytes, struct curl_slist *head) {
    size_t room = 1024 + (size_t)entries * ((size_t)body_bytes + 512);
    t->body = malloc(room);
    char *end = t->body + sprintf(t->body, "{\"QueueUrl\":\"%s\",\"Entries\":[", queue);
    for (int entry = 0; entry < entries; entry++) {
        end += sprintf(end, "%s{\"Id\":\"%d\",\"MessageGroupId\":\"g%d\",\"MessageDeduplicationId\":\"", entry ? "," : "",
                       entry, rand() % 65536);
        t->ids[entry] = end;
        memset(end, '0', id_digits);
        end += id_digits;
        end += sprintf(end, "\",\"MessageBody\":\"");
        memset(end, 'x', (size_t)body_bytes);
        end += body_bytes;
        end += sprintf(end, "\"}");
    }
    end += sprintf(end, "]}");
    t->length = (size_t)(end - t->body);
    char url[512];
    const char *path = strchr(queue + 8, '/');
    snprintf(url, sizeof url, "%.*s/", path ? (int)(path - queue) : (int)strlen(queue), queue);
    t->easy = curl_easy_init();
    curl_easy_setopt(t->easy, CURLOPT_URL, url);
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, head);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->body);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE, (long)t->length);
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, ignore);
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    renew(t);
}

int main(int count, char **words) {
    if (count < 5) return fprintf(stderr, "usage: raw_curl SECONDS BODY_BYTES UNDER_WAY QUEUE_URL...\n"), 64;
    double seconds = atof(words[1]);
    int body_bytes = atoi(words[2]), under_way = atoi(words[3]), queues = count - 4;
    next_id = (unsigned long)time(NULL) * 1000000000UL;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct curl_slist *head = NULL;
    head = curl_slist_append(head, "Content-Type: application/x-amz-json-1.0");
    head = curl_slist_append(head, "X-Amz-Target: AmazonSQS.SendMessageBatch");
    head = curl_slist_append(head, "X-Amz-Date: 20260101T000000Z");
    head = curl_slist_append(
        head, "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLEEXAMPLEEX/20260101/us-east-1/sqs/aws4_request, "
              "SignedHeaders=content-type;host;x-amz-date;x-amz-target, "
              "Signature=0000000000000000000000000000000000000000000000000000000000000000");
    CURLM *multi = curl_multi_init();
    transfer *all = calloc((size_t)(queues * under_way), sizeof *all);
    for (int place = 0; place < queues * under_way; place++) {
        prepare(&all[place], words[4 + place % queues], body_bytes, head);
        curl_multi_add_handle(multi, all[place].easy);
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
    long messages = (requests - failures) * entries;
    printf("{\"requests\":%ld,\"failures\":%ld,\"messages_per_second\":%.0f,\"cpu_us_per_message\":%.2f}\n", requests,
           failures, (double)messages / took, messages ? used / (double)messages * 1e6 : 0);
    return failures ? 1 : 0;
}
