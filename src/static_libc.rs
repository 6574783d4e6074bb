//! Name lookups of a statically linked binary.
//!
//! A static glibc resolves names as the shared one does, from `/etc/hosts` and the name servers of
//! `/etc/resolv.conf`; since glibc 2.34 both services are part of it. Each other service that
//! `/etc/nsswitch.conf` lists (`mymachines`, `sss`, `mdns4_minimal`, ...) is a shared library of
//! the machine, built for that machine's own glibc. To load one into this process can crash it, so
//! the two built-in services are selected instead, whatever the file says.

/// Restricts lookups to the services that are linked into this binary. Does nothing in a
/// dynamically linked one. Call it before the process has other threads.
pub(crate) fn restrict_name_services() {
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    for (database, services) in [(c"hosts", c"files dns"), (c"passwd", c"files"), (c"group", c"files")] {
        configure(database, services);
    }
}

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
fn configure(database: &std::ffi::CStr, services: &std::ffi::CStr) {
    #[allow(unsafe_code)]
    unsafe extern "C" {
        /// From `nss.h`. Returns 0, or -1 for a database or a line that it does not understand.
        fn __nss_configure_lookup(
            database: *const std::ffi::c_char,
            services: *const std::ffi::c_char,
        ) -> std::ffi::c_int;
    }
    // SAFETY: both are strings that end in a NUL byte and outlive the call, which copies what it
    // keeps. The result is not used: if it failed, the file's services stay selected, which often
    // works too.
    #[allow(unsafe_code)]
    let _ = unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
}
