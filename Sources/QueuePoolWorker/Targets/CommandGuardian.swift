// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolCommand
import Glibc

// A worker that is killed can end nobody any more, and its commands would go on beside those of the next worker that gets
// their messages. The kernel's own means, PR_SET_PDEATHSIG, reaches a command but not what the command started. So a
// shell of a few hundred kilobytes stands beside the worker and reads from a pipe which process groups run; when the
// pipe ends, because the worker did in whatever way, it kills those that are left. A child writes itself into the pipe
// before it becomes the command, so that no group is missed. PR_SET_PDEATHSIG is set as well, for the case that both
// are killed at once. The other way, a supervisor for each command, would double the processes of every delivery.

/// The process that ends commands whose worker is gone. Used by one thread.
struct CommandGuardian {
    private static let script = """
        trap '' HUP INT QUIT TERM
        list=' '
        while read -r line; do
            id=${line#?}
            case $line in
            +*) list="$list$id " ;;
            -*) case $list in *" $id "*) list="${list%%" $id "*} ${list#*" $id "}" ;; esac ;;
            esac
        done
        for id in $list; do kill -s KILL -- "-$id"; done
        """

    /// Where groups are noted; -1 when there is no guardian.
    private(set) var registry: Int32 = -1
    /// To be polled for its end; -1 when there is none.
    private(set) var handle: Int32 = -1
    private var process: pid_t = 0

    /// Starts one, unless it runs, that knows these groups.
    /// - Returns: 0, or the system's error.
    mutating func start(groups: [pid_t]) -> Int32 {
        guard registry < 0 else { return 0 }
        var ends: [Int32] = [-1, -1]
        guard qp_pipe(&ends) == 0 else { return errno }
        let nowhere = open("/dev/null", O_RDWR | O_CLOEXEC)
        guard nowhere >= 0 else {
            let code = errno
            for end in ends { close(end) }
            return code
        }
        let started = ChildProgram.start(
            arguments: ["sh", "-c", CommandGuardian.script, "queuepool-guardian"], environment: [],
            streams: (ends[0], nowhere, nowhere), registry: -1, diesWithThread: false)
        close(ends[0])
        close(nowhere)
        switch started {
        case .failure(let error):
            close(ends[1])
            return error.code
        case .success(let child):
            (registry, handle, process) = (ends[1], child.handle, child.process)
            for group in groups where qp_note(registry, CommandGuardian.begun, group) != 0 { discard() }
            return registry < 0 ? EPIPE : 0
        }
    }

    /// A group whose leader ended, and whose number will be another's as soon as the leader's status was taken.
    mutating func forget(_ group: pid_t) {
        guard registry >= 0, qp_note(registry, CommandGuardian.over, group) != 0 else { return }
        discard()
    }

    /// Ends it without letting it kill anybody.
    mutating func discard() {
        guard registry >= 0 else { return }
        kill(process, SIGKILL)
        while waitpid(process, nil, 0) < 0 && errno == EINTR {}
        close(registry)
        close(handle)
        (registry, handle, process) = (-1, -1, 0)
    }

    private static let begun = CChar(UInt8(ascii: "+"))
    private static let over = CChar(UInt8(ascii: "-"))
}

/// A program that became a child of this process.
struct ChildProgram {
    struct Failure: Error {
        /// The system's error.
        let code: Int32
    }

    let process: pid_t
    /// Can be polled for the child's end; whoever started it closes it.
    let handle: Int32

    /// Starts `/bin/sh`. Blocks until it runs.
    /// - Parameters:
    ///   - streams: descriptors that become its standard streams.
    ///   - registry: where it notes itself, or -1.
    ///   - diesWithThread: whether it is killed when the calling thread ends.
    static func start(
        arguments: [String], environment: [String], streams: (input: Int32, output: Int32, error: Int32),
        registry: Int32, diesWithThread: Bool
    ) -> Result<ChildProgram, Failure> {
        let argumentTexts = copies(arguments)
        let environmentTexts = copies(environment)
        defer { for text in argumentTexts + environmentTexts { free(text) } }
        var handle: Int32 = -1
        let process = "/bin/sh".withCString { path in
            argumentTexts.withUnsafeBufferPointer { arguments in
                environmentTexts.withUnsafeBufferPointer { environment in
                    var program = qp_program()
                    program.path = path
                    program.arguments = arguments.baseAddress
                    program.environment = environment.baseAddress
                    (program.input, program.output, program.error) = (streams.input, streams.output, streams.error)
                    program.registry = registry
                    program.dies_with_thread = diesWithThread ? 1 : 0
                    return qp_start(&program, &handle)
                }
            }
        }
        guard process > 0 else { return .failure(Failure(code: errno)) }
        return .success(ChildProgram(process: process, handle: handle))
    }

    /// C strings and the null that ends the list; to be freed by the caller.
    private static func copies(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
        texts.map { text in strdup(text) } + [nil]
    }
}
