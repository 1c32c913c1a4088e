#define _GNU_SOURCE
#include "clinux.h"

#include <elf.h>
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

void clinux_limit_arenas(int arenas) {
    mallopt(M_ARENA_MAX, arenas);
    /* Set explicitly, the threshold stays where it is: large short-lived arrays go back to the kernel at once. */
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
}

/* Drops the pages of one loaded object's code from our page tables. They are unmodified pages of a file: what is used
 * again is mapped again from the page cache. */
static int forget_code(struct dl_phdr_info *object, size_t size, void *unused) {
    (void)size;
    (void)unused;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X) || (segment->p_flags & PF_W)) continue;
        uintptr_t begin = (object->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_filesz + page - 1) & ~(page - 1);
        madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    /* The first object is the program itself; libraries are shared with others. */
    return 1;
}

void clinux_release_startup_memory(void) {
    malloc_trim(0);
    dl_iterate_phdr(forget_code, NULL);
}
