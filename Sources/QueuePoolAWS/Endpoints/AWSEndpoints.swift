// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Where a service is. First what the operator says, then the partition's rule. Order as in every AWS SDK: variable of
// the service, variable for all, profile's `services` section, profile's `endpoint_url`; AWS_IGNORE_CONFIGURED_ENDPOINT_URLS
// takes all of them away. Source: docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html

/// Region and endpoints as the surroundings set them.
package struct AWSEndpoints: Sendable {
    /// `nil`: nobody named one.
    package let region: String?
    private let configured: [String: String]

    package static let services = ["sqs", "dynamodb", "s3", "sts", "kms"]

    /// - Parameters:
    ///   - region: named by a setting of our own, before all others.
    ///   - profile: likewise.
    package init(_ surroundings: AWSSurroundings, region: String? = nil, profile: String? = nil) {
        let files = surroundings.profiles()
        let profile = profile ?? surroundings.profileName
        self.region =
            region ?? surroundings.text("AWS_REGION") ?? surroundings.text("AWS_DEFAULT_REGION")
            ?? files.profile(profile)?["region"]
        var configured: [String: String] = [:]
        let ignore =
            surroundings.text("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
            ?? files.profile(profile)?["ignore_configured_endpoint_urls"]
        if ignore?.lowercased() != "true" {
            for service in AWSEndpoints.services {
                configured[service] =
                    surroundings.text("AWS_ENDPOINT_URL_\(service.uppercased())")
                    ?? surroundings.text("AWS_ENDPOINT_URL") ?? files.endpoint(service: service, profile: profile)
            }
        }
        self.configured = configured
    }

    /// `https://sqs.eu-central-1.amazonaws.com`, without a slash at the end.
    ///
    /// - Parameter region: of a shard; `nil`: the surroundings' own.
    /// - Throws: `permanent` if there is no region or it cannot be part of a host's name.
    package func url(service: String, region: String? = nil) throws(AWSError) -> String {
        guard let region = region ?? self.region else { throw .permanent(code: "MissingRegion", status: 0) }
        if let url = configured[service] { return url.hasSuffix("/") ? String(url.dropLast()) : url }
        guard AWSEndpoints.isRegion(region) else { throw .permanent(code: "InvalidRegion", status: 0) }
        return "https://\(service).\(region).\(AWSEndpoints.suffix(region))"
    }

    package static func isRegion(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 63 && !text.hasPrefix("-")
            && text.utf8.allSatisfy {
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-")
            }
    }

    private static let suffixes = [
        ("cn-", "amazonaws.com.cn"), ("us-iso-", "c2s.ic.gov"), ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"), ("eu-isoe-", "cloud.adc-e.uk"), ("eusc-", "amazonaws.eu"),
    ]

    private static func suffix(_ region: String) -> String {
        suffixes.first { region.hasPrefix($0.0) }?.1 ?? "amazonaws.com"
    }
}
