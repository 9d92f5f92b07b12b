// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolAWS
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolSettings

/// The control store that the settings name.
/// - Throws: `CommandFailure` that says why it cannot be used.
func openControlStore(_ settings: ControlSettings, clock: any Clock) throws -> any ControlStore {
    try openControlStores(settings, clock: clock).control
}

/// Well inside of a lease's term: the keeper of leases tries again itself.
private let leaseTimeoutMilliseconds = 2_000

/// The control store that the settings name, and the leases in it.
/// - Throws: `CommandFailure` that says why it cannot be used.
func openControlStores(
    _ settings: ControlSettings, clock: any Clock
) throws -> (control: any ControlStore, leases: any LeaseStore) {
    switch settings.address {
    case .sqlite(let file):
        do throws(ControlStoreError) {
            let store = try SQLiteControlStore(path: file)
            return (store, store)
        } catch {
            throw CommandFailure(
                "the control store \(file) cannot be opened: \(describe(error))", status: ExitStatus.inputOutput)
        }
    case .dynamoDB(let table):
        let access = try AWSAccess(settings, clock: clock)
        let quick = DynamoDBTable.service(
            caller: access.caller, region: access.region, endpoint: try access.endpoint("dynamodb"),
            clock: access.local, attemptsMax: 1, timeoutMilliseconds: leaseTimeoutMilliseconds)
        return (
            DynamoDBControlStore(table: try dynamoDBTable(table, access)),
            DynamoDBLeaseStore(table: DynamoDBTable(name: table, service: quick), now: { access.serviceTime })
        )
    }
}

func dynamoDBTable(_ name: String, _ access: AWSAccess) throws -> DynamoDBTable {
    try DynamoDBTable(
        name: name,
        service: DynamoDBTable.service(
            caller: access.caller, region: access.region, endpoint: access.endpoint("dynamodb"),
            clock: access.local))
}

func describe(_ error: ControlStoreError) -> String {
    switch error {
    case .failed(let code): "SQLite error \(code)"
    case .damaged(let pool): "what is stored of the pool \(pool) cannot be read"
    case .conflict(let pool): "the pool \(pool) was changed by somebody else at the same moment; try again"
    case .unknownSchema(let version): "it was written by a later version of this program (schema \(version))"
    case .noTable: "the table does not exist; 'queuepool pool create --backend sqs' makes it"
    case .tooLarge(let pool, let bytes, let limit): "the pool \(pool) takes \(bytes) bytes; allowed: \(limit)"
    case .service(let code, let isRetryable): "DynamoDB answered \(code)" + (isRetryable ? "; try again" : "")
    }
}
