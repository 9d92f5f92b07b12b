// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Keys that the world knows. Those of RFC 8463 (A.1) are its example's.
enum DKIMTestKeys {
    /// RFC 8463: RSA of 1,024 bits in PKCS#1.
    static let rsa = """
        -----BEGIN RSA PRIVATE KEY-----
        MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi
        Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM
        KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB
        AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm
        6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe
        zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy
        6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc
        uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy
        WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd
        WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a
        licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst
        o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe
        uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL
        -----END RSA PRIVATE KEY-----
        """

    /// The same in PKCS#8.
    static let rsaPKCS8 = """
        -----BEGIN PRIVATE KEY-----
        MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBAOQeU5CgFPNZGIaz
        lXo2k/eJ1jpaTTxrmqF1HrDLlt04pvaMtCJj8nXoliLRC/H9vJjMI1vdb3XLcW60
        AIN/PBD8EL97/y4GwJH7LPUvGP48vqUe+owqszesbiGy1PlCO8c70/OjFnJVgvMF
        87YR4Lcincb7aSvI5MgpP6X8rjDdAgMBAAECgYAfRzE6EVkODNdaEOGcAkPDmziu
        g5c3g6GOJdrxbtjeuFfcUmqYlI+4Lw329CbpJVtosAThIbmYsy54eWHgpd98Sm4s
        SI2n1Kzc7hh8uJCltGoTtOblLEqO+9Chll7MeiuKY5oKFEvaK3juK5bHPFKJEy/h
        z6PvQaJZ3FefF7hSgQJBAPMkH/RTnxbtFnLp6cZWPaRYXvfYKhYVlbOLUWJy52sE
        WjLrdDByjCmgJrMq29kYw2U9acLvH/qjwZy5J7SBrbECQQDwLs+Kk+bX/V9NFC+P
        Wj90OZmnbjfTjhk3LGOD78483ShYJtcgbHJa+ZlteuI5ahIAslOMTESCtocSCdey
        y6TtAkEAuXkgKxgy7qEzE7veCd81rI2A/F1YVXpntQucrJXsdJVgXSGBg4eN5h72
        Boy2IliijTMY34vcAC00/2G6qRaXMQJATVqWJwh5WWjV76onoyCqvRDsBrt9qVnj
        jxxxtIVgQ8PqgXGI6X1j2x72Jgdkop8hyy2jsNTDX+HPYKTg3kmuBQJBALIq942+
        POSR3weNizRLAzR8+MrXr//moNnZSIMac564TPEEMCvnXxnxUVtHjWKfdbhjfIIO
        BCUuVwROtL7Nhws=
        -----END PRIVATE KEY-----
        """

    /// RFC 8463's Ed25519 in PKCS#8.
    static let ed25519 = """
        -----BEGIN PRIVATE KEY-----
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
        -----END PRIVATE KEY-----
        """

    /// What is no key that signs mails.
    static let rsa768 = """
        -----BEGIN RSA PRIVATE KEY-----
        MIIBywIBAAJhAJ5hfr2/GwCUBYVYDMOnPQjj/eHIaxorVBaKOw+91kdcN92+i6k8
        kslsTWG4EIo1xwJj3lCGIA3RVsZwWrfZCF/FqmXdtX+P+jzWyPydvVobmVaHgOew
        Fp/fAeHN/b3k6QIDAQABAmEAgV+mhhy7U+eV8uyP0KqlwsNqOarbQg8uqxLTV/J8
        POJpiCsELoQaa4qaUz5l1GBEHM0IkQtHbxfH1G3n50FBuvOK/2/GLPrvHxYBr81S
        nU30K6BxRTDpXvFbDcOgIYThAjEA0TGldftpRYtPg+PaFOkyTqKIEnTqE2oZhTMv
        RDn78R+KH4jkX8ft2HNw5XjyGdQdAjEAwdFXdUnR4oy2KmkYTA1CjPJn2f2Qkksj
        gyfqOLSKbuIE5bKQTN4JslZuDXLUDKI9AjEAv3JI871/LRb+UTyQE70Kvi4+i22V
        3uilrGIYar8KFDSCCrQUFJf60rFra4aRQhP9AjBn1uishihU4F6YykWiOVh2e0j4
        mcljF66nDjOGvfONBLrq9YgqJqu7SGMeAW9qdWECMEf8nmCn9nIj/CDgRLnWNt51
        ItC9q/a+3AM3OvPDG/bpqUykJtV7Onnm8xW7iLf1vA==
        -----END RSA PRIVATE KEY-----
        """
    static let rsaEncrypted = """
        -----BEGIN RSA PRIVATE KEY-----
        Proc-Type: 4,ENCRYPTED
        DEK-Info: DES-EDE3-CBC,0171BD485BEC2191

        yLTQjAXRAV5e7WwTxliemaFxY4q2S8jqEhJGnCpaGM4Fw7jNTw8ks4lYE14S8XGa
        MEmjteAJgv3ebu4hctSSgBs+UTvD1JoKEecIZQ+6IadowDmTagGrQa7wdgHNV+gD
        qjkhg05Gg3gLAKhIUyOPtR8JW57h9vgIIeJTzztgT1Q2OS49Pq70OxWU0YGOgWtb
        mE7833CcY9S9nUKQ4CEEUevsgN9Kb4MEOS54SI3LJi7VGQHGgVVou5aX7PnbcO3U
        YNKbda9Mf/ZZ3BTYqjja6TAeYwG0FauNdxI3TGOPTYmYvBT4rz3TO2IUWq8VmP3t
        uG0WTwTenuyvc1eb/rug+/2rAmTBXPYc737kBTXByEeFMA8Trf3S+6aE9xz6bOEX
        YmMNHM6HD7SOdmtbNHIipXci15zfIMkTs8479RB3N0NTbO8am9noSnhpznjPNj5X
        PmevnVwOwdtf/jC4Bzh9m61f4Chkt4XRt2nhmBaP4msYkfEGgBJ2qmb04EouhFI1
        j7qpjW+FleWJXRK3wpSNyd8VLzS74WMy2I7zEgKBJsUC+64iDhmkg5IGrC5lGUvv
        MGj2/BcQsDqEbRkauWox3ZD92oP6zeXJYJjgTMHz0WV+2g8Mxt3XOBcOPxVCWk6i
        KBBz/3+XuEfd21jOf4N6cX3MBxCzdkziFwzjjpb+z173F7at8oPhVqYpEBW57JRZ
        ETCSp58Tk+WFyifttwZR3qJnlYHHtQXGCy19kjdV4KsTNS2vXTZ2uoYCUHf7k40e
        kG7wGA+AiRVe4cIfDlp+lboGOjSRkd8Z0E+41kPAkH7uzctEHOGzDA==
        -----END RSA PRIVATE KEY-----
        """
    static let ed25519Encrypted = """
        -----BEGIN ENCRYPTED PRIVATE KEY-----
        MIGbMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAi6tv/exu3qYgICCAAw
        DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEDBTq7QaW1uTRJUKo3QqdMkEQMj7
        +SvzmoCQqKg1sNSZ0G4eyV7NnPqZpBzo/cUenOtiCvYJTprOWo8LZt7sNa9aDkCL
        PN3u70lpfJr/3DWmjN0=
        -----END ENCRYPTED PRIVATE KEY-----
        """
    static let ed25519Public = """
        -----BEGIN PUBLIC KEY-----
        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
        -----END PUBLIC KEY-----
        """
    /// The same bytes as `ed25519`, of the algorithm that agrees on keys.
    static let x25519 = """
        -----BEGIN PRIVATE KEY-----
        MC4CAQAwBQYDK2VuBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
        -----END PRIVATE KEY-----
        """
    static let elliptic = """
        -----BEGIN EC PARAMETERS-----
        BggqhkjOPQMBBw==
        -----END EC PARAMETERS-----
        -----BEGIN EC PRIVATE KEY-----
        MHcCAQEEIGboyDpJlZcghbQZeC9Y97tocP4AV2tbsn/eI1Fc9uE3oAoGCCqGSM49
        AwEHoUQDQgAEPcJ9YslbgcsuyDVQ4+Gc8wnNG00CFbL85Oc4d6IbpEC9PIbRJmcE
        8ipp3rD80ch8uHv26b7JtLnHVbrBI2ez+Q==
        -----END EC PRIVATE KEY-----
        """
    static let ellipticPKCS8 = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZujIOkmVlyCFtBl4
        L1j3u2hw/gBXa1uyf94jUVz24TehRANCAAQ9wn1iyVuByy7INVDj4ZzzCc0bTQIV
        svzk5zh3ohukQL08htEmZwTyKmnesPzRyHy4e/bpvsm0ucdVusEjZ7P5
        -----END PRIVATE KEY-----
        """
}
