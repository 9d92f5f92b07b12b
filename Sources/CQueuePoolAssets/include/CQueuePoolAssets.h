// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The files that the server serves as they stand. They are part of the program, which stays one file. The header
// includes no system header, so that importing it moves no libc type into the module.
#pragma once

/// Bytes that live as long as the program does.
typedef struct {
    const void *start;
    long count;
} qp_asset;

/// `openapi.json`, UTF-8.
qp_asset qp_asset_openapi(void);
/// `console.html`, UTF-8.
qp_asset qp_asset_console(void);
