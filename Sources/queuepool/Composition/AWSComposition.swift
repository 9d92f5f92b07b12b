// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolAWS
import QueuePoolCore
import QueuePoolCurl
import QueuePoolRuntime
import QueuePoolSettings
import Synchronization

/// How this process reaches AWS: one engine, the surroundings' credentials, region and endpoints.
final class AWSAccess: Sendable {
    let caller: any AWSCaller
    let region: String
    private let surroundings: AWSSurroundings
    private let endpoints: AWSEndpoints
    /// Where roles are taken on, those of shards and our own: the endpoint that is set for all services is STS's too.
    private let roleEndpoints: AWSEndpoints
    private let chain: CredentialChain
    private let engine: CurlEngine
    /// One for all: what an answer teaches about the time is true for every signature and every expiry.
    private let clock: ServiceClock
    /// This machine's.
    let local: any Clock
    private let endpointSetting: String?
    /// Callers by the role that they took on.
    private let byRole = Mutex<[String: any AWSCaller]>([:])

    /// - Throws: `CommandFailure` if nobody named a region.
    init(
        _ settings: ControlSettings, clock local: any Clock,
        environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws {
        let engine = CurlEngine()
        let clock = ServiceClock(local)
        surroundings = AWSSurroundings(
            variable: { environment[$0] }, file: { try? String(contentsOfFile: $0, encoding: .utf8) },
            perform: { (request) async throws(CurlError) in try await engine.perform(request) }, clock: clock)
        endpoints = AWSEndpoints(surroundings, region: settings.awsRegion)
        var named = surroundings
        if let endpoint = settings.awsEndpoint {
            named.variable = { name in
                switch name {
                case "AWS_ENDPOINT_URL_STS": endpoint
                case "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false"
                default: environment[name]
                }
            }
        }
        roleEndpoints = AWSEndpoints(named, region: settings.awsRegion)
        guard let region = endpoints.region else {
            throw CommandFailure(
                "no region of AWS is named; give --region or set AWS_REGION", status: ExitStatus.configuration)
        }
        self.region = region
        self.engine = engine
        self.clock = clock
        self.local = local
        endpointSetting = settings.awsEndpoint
        chain = CredentialChain(surroundings, roleEndpoints)
        caller = SignedCaller(
            engine: engine, provider: CredentialProvider(source: chain, clock: clock), clock: clock)
    }

    /// What time it is at the services.
    var serviceTime: Timestamp { clock.now() }

    /// Base URL of a service, without a slash at its end.
    /// - Throws: `CommandFailure` if the region is no region's name.
    func endpoint(_ service: String, region: String? = nil) throws -> String {
        if let endpointSetting { return endpointSetting }
        do throws(AWSError) { return try endpoints.url(service: service, region: region) } catch {
            throw CommandFailure("the region cannot be used: \(error.code)", status: ExitStatus.configuration)
        }
    }

    /// The endpoint that a pool's shards remember: one that was named, `nil` for the region's own.
    func rememberedEndpoint() throws -> String? {
        let url = try endpoint("sqs")
        return url.contains(".amazonaws.com") ? nil : url
    }

    /// Queues of a place, for `pool create` and its like.
    /// - Throws: `permanent` if the region is no region's name.
    func queues(in place: ShardPlace) throws(AWSError) -> SQSAdministrator {
        let endpoint: String
        if let named = place.endpoint ?? endpointSetting {
            endpoint = named
        } else {
            endpoint = try endpoints.url(service: "sqs", region: place.region)
        }
        return SQSAdministrator(
            service: SQSAdministrator.service(
                caller: caller(role: place.roleARN), region: place.region, endpoint: endpoint, clock: local))
    }

    /// Signs as a role, or as this process.
    func caller(role: String?) -> any AWSCaller {
        guard let role else { return caller }
        return byRole.withLock { callers in
            if let known = callers[role] { return known }
            let source = AssumedRole(
                base: chain, role: RoleRequest(roleARN: role),
                service: SecurityTokenService(surroundings, roleEndpoints))
            let made = SignedCaller(
                engine: engine, provider: CredentialProvider(source: source, clock: clock),
                clock: clock)
            callers[role] = made
            return made
        }
    }
}

/// Opens shards that are queues of SQS.
struct QueueShardFactory: ShardFactory {
    let access: AWSAccess

    func open(name: String, attributes: QueueAttributes, address: ShardAddress?) throws -> any Shard {
        guard let address else {
            throw CommandFailure("the shard \(name) has no queue", status: ExitStatus.configuration)
        }
        let endpoint = try address.endpoint ?? access.endpoint("sqs", region: address.region)
        return QueueShard(
            name: name,
            address: QueueAddress(endpoint: endpoint, region: address.region, queueURL: address.queueURL),
            attributes: attributes, caller: access.caller(role: address.roleARN), clock: access.local)
    }

    /// Queues are their owner's: a pool that is removed leaves them where they are.
    func remove(name: String, address: ShardAddress?) {}
}

func queueShardFactory(_ settings: ControlSettings, clock: any Clock) throws -> QueueShardFactory {
    QueueShardFactory(access: try AWSAccess(settings, clock: clock))
}

/// Made when the first shard is opened: a server without a queue of AWS needs no region and no credentials.
final class LazyShardFactory: ShardFactory {
    private let make: @Sendable () throws -> any ShardFactory
    private let made = Mutex<(any ShardFactory)?>(nil)

    init(_ make: @escaping @Sendable () throws -> any ShardFactory) { self.make = make }

    private func factory() throws -> any ShardFactory {
        try made.withLock { made in
            if let made { return made }
            let new = try make()
            made = new
            return new
        }
    }

    func open(name: String, attributes: QueueAttributes, address: ShardAddress?) throws -> any Shard {
        try factory().open(name: name, attributes: attributes, address: address)
    }

    func remove(name: String, address: ShardAddress?) throws { try factory().remove(name: name, address: address) }
}
