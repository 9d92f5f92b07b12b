// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Certificates of clients, signed by themselves and valid for a hundred years, by what they call their owner.
enum TestCertificates {
    /// mail:mailer@example.com, then DNS:second.example; common name c.
    static let mail = """
        -----BEGIN CERTIFICATE-----
        MIIBazCCARKgAwIBAgIUH1sI0DT5XgmAD42QBKhwjjUJ39swCgYIKoZIzj0EAwIw
        DDEKMAgGA1UEAwwBYzAgFw0yNjExMjgwNzM0MDhaGA8yMTI2MTEwNDA3MzQwOFow
        DDEKMAgGA1UEAwwBYzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOog6yNSEkG8
        +o840C8ZEuE9ntEay1Y/hlptZQIi+Ls+mfvynxAPVEJoJ3eq0NSNpTT9G9J1uDWa
        wlzciOYmKPWjUDBOMC0GA1UdEQQmMCSBEm1haWxlckBleGFtcGxlLmNvbYIOc2Vj
        b25kLmV4YW1wbGUwHQYDVR0OBBYEFLwpKq5FUEWzLXaHwbo/8PN3CEJJMAoGCCqG
        SM49BAMCA0cAMEQCIEApb9oqClVzofR/7ETbfDogXjvHGiUft1ddy3xlarhsAiAj
        Heq5vJ8yZgjogqyHBvngQNxA3BRGOUOkPY8cb0WK6w==
        -----END CERTIFICATE-----
        """
    /// IP:127.0.0.1, then DNS:worker.example; common name c.
    static let dns = """
        -----BEGIN CERTIFICATE-----
        MIIBXjCCAQSgAwIBAgIUBNfwoYkGLDf18cd0VQ09nIMK8l0wCgYIKoZIzj0EAwIw
        DDEKMAgGA1UEAwwBYzAgFw0yNjExMjgwNzM0MDhaGA8yMTI2MTEwNDA3MzQwOFow
        DDEKMAgGA1UEAwwBYzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOog6yNSEkG8
        +o840C8ZEuE9ntEay1Y/hlptZQIi+Ls+mfvynxAPVEJoJ3eq0NSNpTT9G9J1uDWa
        wlzciOYmKPWjQjBAMB8GA1UdEQQYMBaHBH8AAAGCDndvcmtlci5leGFtcGxlMB0G
        A1UdDgQWBBS8KSquRVBFsy12h8G6P/DzdwhCSTAKBggqhkjOPQQDAgNIADBFAiA2
        41sb3PwNi/1uhbcbKk5krfqxtvX1Ji/L/5u/bPGq7AIhALKvBAO/gbbyZQ36PLrH
        uLe1fzajk3n6MdquDnXvucMz
        -----END CERTIFICATE-----
        """
    /// URI:spiffe://example/worker; common name c.
    static let uri = """
        -----BEGIN CERTIFICATE-----
        MIIBYjCCAQegAwIBAgIUWmcH7BhbBmbPbX/HkzhlMDYZ0J0wCgYIKoZIzj0EAwIw
        DDEKMAgGA1UEAwwBYzAgFw0yNjExMjgwNzM0MDhaGA8yMTI2MTEwNDA3MzQwOFow
        DDEKMAgGA1UEAwwBYzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABOog6yNSEkG8
        +o840C8ZEuE9ntEay1Y/hlptZQIi+Ls+mfvynxAPVEJoJ3eq0NSNpTT9G9J1uDWa
        wlzciOYmKPWjRTBDMCIGA1UdEQQbMBmGF3NwaWZmZTovL2V4YW1wbGUvd29ya2Vy
        MB0GA1UdDgQWBBS8KSquRVBFsy12h8G6P/DzdwhCSTAKBggqhkjOPQQDAgNJADBG
        AiEA/3QguuzaEKukCrvGwNxoFfPcR7hkJmHVwIWHqtyQ0dMCIQCoLgc+7pEZOX1n
        6TGBcfbk8mEOemnnZJole7FU3BkXIQ==
        -----END CERTIFICATE-----
        """
    /// IP:127.0.0.1; common name c.
    static let ip = """
        -----BEGIN CERTIFICATE-----
        MIIBTjCB9KADAgECAhQZgtOumjAvkj0h6vcA3NCEJccSsTAKBggqhkjOPQQDAjAM
        MQowCAYDVQQDDAFjMCAXDTI2MTEyODA3MzQwOFoYDzIxMjYxMTA0MDczNDA4WjAM
        MQowCAYDVQQDDAFjMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6iDrI1ISQbz6
        jzjQLxkS4T2e0RrLVj+GWm1lAiL4uz6Z+/KfEA9UQmgnd6rQ1I2lNP0b0nW4NZrC
        XNyI5iYo9aMyMDAwDwYDVR0RBAgwBocEfwAAATAdBgNVHQ4EFgQUvCkqrkVQRbMt
        dofBuj/w83cIQkkwCgYIKoZIzj0EAwIDSQAwRgIhAMh7ZAsSaquaQsakSUz4d+Bj
        XSm7egVEKfhJFRAle0qZAiEAiwv0ZFR9Aup2yHdtBJOBZ9/c64ScAeKXP/LAFfeV
        ZKI=
        -----END CERTIFICATE-----
        """
    /// No alternative names; common name sender-7.
    static let commonName = """
        -----BEGIN CERTIFICATE-----
        MIIBijCCATCgAwIBAgIUPJjqQOdGgbKqOsbSXCAPBBtI3wQwCgYIKoZIzj0EAwIw
        LTEYMBYGA1UECgwPQW4gb3JnYW5pc2F0aW9uMREwDwYDVQQDDAhzZW5kZXItNzAg
        Fw0yNjExMjgwNzM0MDhaGA8yMTI2MTEwNDA3MzQwOFowLTEYMBYGA1UECgwPQW4g
        b3JnYW5pc2F0aW9uMREwDwYDVQQDDAhzZW5kZXItNzBZMBMGByqGSM49AgEGCCqG
        SM49AwEHA0IABOog6yNSEkG8+o840C8ZEuE9ntEay1Y/hlptZQIi+Ls+mfvynxAP
        VEJoJ3eq0NSNpTT9G9J1uDWawlzciOYmKPWjLDAqMAkGA1UdEwQCMAAwHQYDVR0O
        BBYEFLwpKq5FUEWzLXaHwbo/8PN3CEJJMAoGCCqGSM49BAMCA0gAMEUCIGwiIJ2z
        7zeuGotqa6cES64ZpjAbWJxyqv46jE773kkYAiEAlFyCI8Fik2A1GIrvq3ZxA3tu
        EkolG/nxM4Ia3TpDFO8=
        -----END CERTIFICATE-----
        """
    /// Neither alternative names nor a common name.
    static let nameless = """
        -----BEGIN CERTIFICATE-----
        MIIBZDCCAQqgAwIBAgIUCX7xcYXA0p/ZEwXyhq0TgtrDvQwwCgYIKoZIzj0EAwIw
        GjEYMBYGA1UECgwPQW4gb3JnYW5pc2F0aW9uMCAXDTI2MTEyODA3MzQwOFoYDzIx
        MjYxMTA0MDczNDA4WjAaMRgwFgYDVQQKDA9BbiBvcmdhbmlzYXRpb24wWTATBgcq
        hkjOPQIBBggqhkjOPQMBBwNCAATqIOsjUhJBvPqPONAvGRLhPZ7RGstWP4ZabWUC
        Ivi7Ppn78p8QD1RCaCd3qtDUjaU0/RvSdbg1msJc3IjmJij1oywwKjAJBgNVHRME
        AjAAMB0GA1UdDgQWBBS8KSquRVBFsy12h8G6P/DzdwhCSTAKBggqhkjOPQQDAgNI
        ADBFAiAM7W6qwpVW4eg77XFETUd6hxBiBpOEE+d+L3ORWvacYgIhAIlYG0IJqqDt
        7vNT4UZQ1NzVWOgrOeEE9TA0qvhqYbZj
        -----END CERTIFICATE-----
        """
    /// No alternative names; common name "two words".
    static let words = """
        -----BEGIN CERTIFICATE-----
        MIIBVjCB/qADAgECAhQ4eLNCl08KhvP4xnRqbMnbJ0iUSTAKBggqhkjOPQQDAjAU
        MRIwEAYDVQQDDAl0d28gd29yZHMwIBcNMjYxMTI4MDczNDA4WhgPMjEyNjExMDQw
        NzM0MDhaMBQxEjAQBgNVBAMMCXR3byB3b3JkczBZMBMGByqGSM49AgEGCCqGSM49
        AwEHA0IABOog6yNSEkG8+o840C8ZEuE9ntEay1Y/hlptZQIi+Ls+mfvynxAPVEJo
        J3eq0NSNpTT9G9J1uDWawlzciOYmKPWjLDAqMAkGA1UdEwQCMAAwHQYDVR0OBBYE
        FLwpKq5FUEWzLXaHwbo/8PN3CEJJMAoGCCqGSM49BAMCA0cAMEQCIDbYIpJuQ7LK
        ZYdyikCfxTidGK7/l4kQN0YyFoOz3p4CAiAHqf8oi7QdbmkkAEM9A5VntQNnOQAP
        rnqDoIJG8arZCw==
        -----END CERTIFICATE-----
        """
    /// No alternative names; common name "x>;common_name=y".
    static let brackets = """
        -----BEGIN CERTIFICATE-----
        MIIBZzCCAQygAwIBAgIUJhzfKGGt7xcbVjrr4XuU+Np5K0wwCgYIKoZIzj0EAwIw
        GzEZMBcGA1UEAwwQeD47Y29tbW9uX25hbWU9eTAgFw0yNjExMjgwNzM0MDhaGA8y
        MTI2MTEwNDA3MzQwOFowGzEZMBcGA1UEAwwQeD47Y29tbW9uX25hbWU9eTBZMBMG
        ByqGSM49AgEGCCqGSM49AwEHA0IABOog6yNSEkG8+o840C8ZEuE9ntEay1Y/hlpt
        ZQIi+Ls+mfvynxAPVEJoJ3eq0NSNpTT9G9J1uDWawlzciOYmKPWjLDAqMAkGA1Ud
        EwQCMAAwHQYDVR0OBBYEFLwpKq5FUEWzLXaHwbo/8PN3CEJJMAoGCCqGSM49BAMC
        A0kAMEYCIQD2bDPHT1RnaVGBnU5ie2/lsTsono6KXUCTM5RjCHGo9gIhAKN9twRS
        vrK5T3FgXZYEPn4ek67bHvp2z7PV0KumOp8l
        -----END CERTIFICATE-----
        """
    /// The key of all of them, which opens nothing.
    static let key = """
        -----BEGIN EC PRIVATE KEY-----
        MHcCAQEEIEDJJN7zZmiiBF6VJVnvAjD04dKt1WH4VWvCQUkUJ+oNoAoGCCqGSM49
        AwEHoUQDQgAE6iDrI1ISQbz6jzjQLxkS4T2e0RrLVj+GWm1lAiL4uz6Z+/KfEA9U
        Qmgnd6rQ1I2lNP0b0nW4NZrCXNyI5iYo9Q==
        -----END EC PRIVATE KEY-----
        """
}
