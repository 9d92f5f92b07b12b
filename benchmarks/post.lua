-- This source file is part of the queuepool project
-- Licensed under the Apache License, Version 2.0
-- SPDX-License-Identifier: Apache-2.0

-- The single send of `bench` as wrk sends it: same path, same headers, a body of 1 KiB inside the same JSON.
local body = '{"group":"g0000002a","deduplicationId":"' .. string.rep("0", 32) .. '","body":"' .. string.rep("x", 1024) .. '"}'
wrk.method = "POST"
wrk.path = "/v1/pools/bench.fifo/messages"
wrk.headers["Content-Type"] = "application/json"
wrk.body = body
