#pragma once

#include <stddef.h>
#include <stdint.h>

/* How often this process has asked for memory, from its start on; and the bytes that it has now (mallinfo2). */
uint64_t callocations_count(void);
size_t callocations_bytes_in_use(void);
