internal import ArgumentParser
internal import Logging
internal import ServiceLifecycle
internal import Subprocess
internal import Yams
@main struct Larder: ParsableCommand {}
