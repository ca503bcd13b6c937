// SPDX-License-Identifier: Apache-2.0
import Testing

/// What runs on a GPU, one after the other: tests say what fails on the one there is.
@Suite(.serialized) enum GPUTests {}
