#pragma once
#include <hiredis/hiredis.h>
#include <stdlib.h>

// hiredis allocates what an array's header promises before the elements have come, and knows no limit. What the reply
// may hold is counted here, in front of its own functions; a refusal becomes its error "Out of memory".
typedef struct eider_reader {
    redisReader *reader;
    redisReplyObjectFunctions limited;
    redisReplyObjectFunctions *own;
    long elements_limit;
    long elements_left;
    size_t string_limit;
} eider_reader;

static void *eider_create_string(const redisReadTask *task, char *bytes, size_t length) {
    eider_reader *limits = (eider_reader *)task->privdata;
    if (length > limits->string_limit) return NULL;
    return limits->own->createString(task, bytes, length);
}

static void *eider_create_array(const redisReadTask *task, int count) {
    eider_reader *limits = (eider_reader *)task->privdata;
    if (count < 0 || count > limits->elements_left) return NULL;
    limits->elements_left -= count;
    return limits->own->createArray(task, count);
}

static void *eider_create_integer(const redisReadTask *task, long long value) {
    return ((eider_reader *)task->privdata)->own->createInteger(task, value);
}

static void *eider_create_nil(const redisReadTask *task) {
    return ((eider_reader *)task->privdata)->own->createNil(task);
}

static inline eider_reader *eider_reader_create(long elements_limit, size_t string_limit) {
    eider_reader *limits = (eider_reader *)calloc(1, sizeof(eider_reader));
    if (limits == NULL) return NULL;
    limits->reader = redisReaderCreate();
    if (limits->reader == NULL) {
        free(limits);
        return NULL;
    }
    limits->own = limits->reader->fn;
    limits->limited = *limits->own;
    limits->limited.createString = eider_create_string;
    limits->limited.createArray = eider_create_array;
    limits->limited.createInteger = eider_create_integer;
    limits->limited.createNil = eider_create_nil;
    limits->elements_limit = elements_limit;
    limits->elements_left = elements_limit;
    limits->string_limit = string_limit;
    limits->reader->fn = &limits->limited;
    limits->reader->privdata = limits;
    return limits;
}

static inline void eider_reader_free(eider_reader *limits) {
    redisReaderFree(limits->reader);
    free(limits);
}

static inline int eider_reader_feed(eider_reader *limits, const void *bytes, size_t length) {
    return redisReaderFeed(limits->reader, (const char *)bytes, length);
}

// The next whole reply, NULL while it is not there; -1 for a fault, after which the reader is of no use.
static inline int eider_reader_next(eider_reader *limits, redisReply **reply) {
    void *found = NULL;
    *reply = NULL;
    if (redisReaderGetReply(limits->reader, &found) != REDIS_OK) return -1;
    if (found != NULL) limits->elements_left = limits->elements_limit;
    *reply = (redisReply *)found;
    return 0;
}

// Bytes that have come and were not read yet.
static inline size_t eider_reader_rest(const eider_reader *limits) {
    return limits->reader->len - limits->reader->pos;
}

static inline const char *eider_reader_fault(const eider_reader *limits) {
    return limits->reader->errstr;
}
