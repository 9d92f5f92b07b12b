// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// C, because its compiler embeds a file in no time. The package manager's own way, `.embedInCode`, writes the bytes as a
// Swift array, which the Swift compiler takes 20 s to read.
#include "CQueuePoolAssets.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char openapi[] = {
#embed "../QueuePoolServer/Assets/openapi.json"
};

static const unsigned char console[] = {
#embed "../QueuePoolServer/Assets/console.html"
};

qp_asset qp_asset_openapi(void) { return (qp_asset){openapi, sizeof openapi}; }
qp_asset qp_asset_console(void) { return (qp_asset){console, sizeof console}; }
