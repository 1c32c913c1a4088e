WorkerProgram.run(arguments: CommandLine.arguments)
