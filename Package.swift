// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let package = Package(
    name: "larder",
    products: [.executable(name: "larder", targets: ["worker"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
    ],
    targets: [
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(
            name: "CHiredis",
            pkgConfig: "hiredis",
            providers: [.apt(["libhiredis-dev"])]
        ),
        .systemLibrary(
            name: "COpenBLAS",
            pkgConfig: "openblas",
            providers: [.apt(["libopenblas-dev"])]
        ),
        .systemLibrary(
            name: "CCurl",
            pkgConfig: "libcurl",
            providers: [.apt(["libcurl4-openssl-dev"])]
        ),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),

        // Debug builds optimise the kernels too: the tests would take minutes otherwise.
        .target(
            name: "CKernels",
            cSettings: [.unsafeFlags(["-O2"], .when(configuration: .debug))]
        ),

        .target(name: "Executors", swiftSettings: strict),
        .target(name: "CUDA", swiftSettings: strict),
        .target(name: "Postgres", dependencies: ["CLibPQ", "Executors"], swiftSettings: strict),
        .target(
            name: "Jobs",
            dependencies: ["Postgres", .product(name: "Logging", package: "swift-log")],
            resources: [
                .embedInCode("SQL"), .embedInCode("Functions"), .embedInCode("Migrations"),
            ],
            swiftSettings: strict
        ),
        .target(
            name: "Transfer",
            dependencies: ["CCurl", .product(name: "Crypto", package: "swift-crypto")],
            swiftSettings: strict
        ),
        .target(
            name: "Tables",
            dependencies: ["CZlib", "CZstd", "Executors", "Postgres", "Transfer"],
            swiftSettings: strict
        ),
        .target(
            name: "Predictor",
            dependencies: ["CKernels", "COpenBLAS", "CUDA", "Executors", "Tables"],
            resources: [
                .embedInCode("TopK/Device/topk.cu"), .embedInCode("Layers/Device/layers.cu"),
                .embedInCode("Layers/Device/transformer.cu"),
            ],
            swiftSettings: strict
        ),
        .target(
            name: "CacheWriter",
            dependencies: [
                "CHiredis", "Executors", .product(name: "Crypto", package: "swift-crypto"),
            ],
            resources: [.embedInCode("Functions")],
            swiftSettings: strict
        ),
        .target(
            name: "Artifacts",
            dependencies: ["Transfer", .product(name: "Crypto", package: "swift-crypto")],
            swiftSettings: strict
        ),
        .executableTarget(
            name: "worker",
            dependencies: [
                "Artifacts", "CacheWriter", "CUDA", "Executors", "Jobs", "Postgres", "Predictor",
                "Tables", "Transfer",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "Yams", package: "Yams"),
            ],
            resources: [.embedInCode("HTTP/openapi.json"), .embedInCode("Dashboard/dashboard.js")],
            swiftSettings: strict
        ),

        .target(
            name: "TestSupport",
            dependencies: [
                "Artifacts", "CacheWriter", "Jobs", "Postgres", "Predictor", "Tables",
                .product(name: "Subprocess", package: "swift-subprocess"),
            ],
            path: "Tests/TestSupport",
            swiftSettings: strict
        ),
        .testTarget(name: "PostgresTests", dependencies: ["Postgres"], swiftSettings: strict),
        .testTarget(name: "JobsTests", dependencies: ["Jobs"], swiftSettings: strict),
        .testTarget(
            name: "TablesTests",
            dependencies: ["CZlib", "CZstd", "Tables", "TestSupport"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "PredictorTests",
            dependencies: ["CKernels", "CUDA", "Predictor", "Tables", "TestSupport"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "CacheWriterTests",
            dependencies: ["CacheWriter"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "ArtifactsTests",
            dependencies: ["Artifacts", "TestSupport"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "workerTests",
            dependencies: [
                "Jobs", "Predictor", "Tables", "TestSupport", "worker",
                .product(name: "HTTPTypes", package: "swift-http-types"),
            ],
            swiftSettings: strict
        ),
        .testTarget(
            name: "IntegrationTests",
            dependencies: [
                "Artifacts", "CacheWriter", "Executors", "Jobs", "Postgres", "Predictor",
                "Tables", "TestSupport", "Transfer", "worker",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: strict
        ),
    ]
)
