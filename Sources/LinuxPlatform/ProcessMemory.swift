internal import CLinux

/// The memory of this process.
public enum ProcessMemory {
    /// Keeps the allocator from making an arena for every thread. Before any thread is started.
    public static func limitArenas(to count: Int32) {
        clinux_limit_arenas(count)
    }

    /// Gives back what only the start needed: free memory of the heap, and the pages of our own code that are mapped.
    /// What runs on is mapped again, page by page, from the page cache.
    public static func releaseStartupMemory() {
        clinux_release_startup_memory()
    }
}
