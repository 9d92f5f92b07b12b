// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// Large bodies get a folder of a bucket before the pool's definition names it, so that no server looks for a bucket that is
// not there. The bucket may be somebody's who keeps other things in it: nothing but the folder's own rule is changed.

/// Where a pool's bodies are to lie, and who prepares that place.
package struct BodyPlan: Sendable {
    package let place: BodyBucket
    package let administrator: S3Administrator

    package init(place: BodyBucket, administrator: S3Administrator) {
        self.place = place
        self.administrator = administrator
    }
}

extension PoolProvisioner {
    /// Looks at the bucket, makes it where there is none, and lets bodies go that nobody removed.
    /// - Parameter retentionSeconds: of the pool; a body must outlive its message there and in the dead-letter queue.
    func prepare(_ plan: BodyPlan, retentionSeconds: Int) throws(ProvisioningError) {
        guard let folder = S3Folder(bucket: plan.place.bucket, prefix: plan.place.prefix) else {
            throw .bodies("'\(plan.place.bucket)/\(plan.place.prefix)' is no folder of a bucket")
        }
        let buckets = plan.administrator
        switch try s3(folder, { () throws(AWSError) in try buckets.state(ofBucket: folder.bucket) }) {
        case .absent: try s3(folder) { () throws(AWSError) in try buckets.create(bucket: folder.bucket) }
        case .usable(let region) where region == nil || region == plan.place.region: break
        case .usable(let region), .elsewhere(let region):
            let there = region ?? "another region"
            throw .bodies("the bucket '\(folder.bucket)' is in \(there), not in \(plan.place.region)")
        case .forbidden:
            throw .bodies(
                "the bucket '\(folder.bucket)' may not be listed: it is somebody else's, or s3:ListBucket is missing")
        }
        let days = PoolProvisioner.days(retentionSeconds: retentionSeconds)
        _ = try s3(folder) { () throws(AWSError) in try buckets.expire(folder, afterDays: days) }
    }

    private func s3<R>(_ folder: S3Folder, _ body: () throws(AWSError) -> R) throws(ProvisioningError) -> R {
        do throws(AWSError) { return try body() } catch { throw .bucket(folder.bucket, error) }
    }

    /// Days after which a body goes: a message may be kept to the end of its retention, and then as long again in the
    /// dead-letter queue. S3 counts from the next midnight; the day more is for clocks.
    package static func days(retentionSeconds: Int) -> Int {
        (retentionSeconds + PoolQueuePlan.deadLetterRetentionSeconds + 86_399) / 86_400 + 1
    }

    /// Where bodies lie is never changed silently: what lies there already would not be found.
    func check(_ plan: BodyPlan?, of stored: PoolDefinition) throws(ProvisioningError) {
        guard let plan, let bodies = stored.bodies, bodies != .s3(plan.place) else { return }
        throw .poolDiffers("its bodies lie in \(bodies.address), not in \(PoolBodies.s3(plan.place).address)")
    }

    /// Writes down where the bodies of a stored pool lie, if nobody did.
    func remember(_ plan: BodyPlan?, of pool: PoolName) throws(ProvisioningError) {
        guard let plan, var definition = try stored(pool), definition.bodies == nil else { return }
        definition.bodies = .s3(plan.place)
        do throws(ControlStoreError) { _ = try store.save(definition) } catch { throw .store(error) }
    }
}

extension PoolBodies {
    /// For people: `s3://BUCKET/PREFIX`, or that the pool's server has them.
    package var address: String {
        switch self {
        case .embedded: "the data directory of its server"
        case .s3(let place):
            "s3://\(place.bucket)/\(place.prefix)" + (place.encryption.map { " (\($0))" } ?? "")
        }
    }
}
