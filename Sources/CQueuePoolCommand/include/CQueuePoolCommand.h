// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What a delivery command needs of Linux that the Glibc module leaves out. The header includes no system header but the
// one of posix_spawn, whose types Swift knows from Glibc.
#pragma once
#include <spawn.h>
#include <stddef.h>

/// A file in memory that has these bytes, stands at its beginning, is closed on exec and cannot be changed; -1 and errno
/// on failure.
int qp_sealed_file(const void *bytes, size_t count);
/// Leaves a child only the descriptors below `first`. 0, or the error's number.
int qp_close_from(posix_spawn_file_actions_t *actions, int first);
