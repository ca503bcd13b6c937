// SPDX-License-Identifier: Apache-2.0
private import COpenBLAS

/// The one place that says how many threads OpenBLAS may use in this process.
package enum BLASThreads {
    /// Workers parallelise over jobs, one slot a core: a second level of threads under each slot
    /// would only fight for the same cores, and would change the last bits of every score.
    package static func useOne() { openblas_set_num_threads(1) }
}
