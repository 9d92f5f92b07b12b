// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import QueuePoolCore
import QueuePoolSealing

@testable import QueuePoolEmbedded

/// Whether the logs of a simulated machine are sealed.
enum SimulatedSealing: String, Sendable {
    case none = "plain"
    case always = "sealed"
    /// Not before the first process has ended: what it left is there as it was.
    case later = "sealed by the second process"
}

/// The data keys of a simulated machine's logs; a log's key is the same in each process. What is drawn for an opening is
/// drawn from the system, because nothing that happens depends on it.
struct SimulatedKeys: StoreKeys {
    let mayHavePlainRows: Bool

    func sealing(of file: String, exists: Bool) -> StoreSealing {
        let key = SHA256.hash(data: Array(file.utf8))
        return StoreSealing(rows: RowSealer(dataKey: SymmetricKey(data: key)), mayHavePlainRows: mayHavePlainRows)
    }
}

extension SimulatedFile {
    /// The rows as they were before they were sealed; a row that does not open is not among them.
    func openedRows(_ sealing: StoreSealing) -> [SimulatedRow] {
        rows.compactMap { number, row in
            guard row.kind >= LogKind.sealed else { return row }
            guard let head = try? sealing.rows.open(head: row.head, row: number) else { return nil }
            let body = row.body.map { try? sealing.rows.open(body: $0, besideSealed: row.head, row: number) }
            return SimulatedRow(shard: row.shard, kind: row.kind - LogKind.sealed, head: head.head, body: body ?? nil)
        }
    }
}
