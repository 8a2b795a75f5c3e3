"""What adapters and dataflow share: messages, the bus, settings, logging and metrics.

All exceptions of the project, each with what its caller does next. They are named after that or
after their reason, without the suffix `Error`.

* Exception
  * connection.Unavailable: try again later, with the same id, so that nothing is stored twice
    * connection.Refused: end the process, because waiting cannot help
    * pieces.NotNow: tell the person to try again later
  * publishing.TooLarge: tell the person that the message will never fit
  * publishing.OverQuota: tell the person to come back later
    * publishing.StoreFull: the same; the operator must free some space
  * blobs.BlobStoreFull: go on without the file
  * blobs.BlobTooLarge: go on without the file
  * event_parsing.Unreadable: move the message to the dead letters, and tell its sender
  * database.engine.BadDatabaseUrl: end the process, because a person has to correct DATABASE_URL
  * database.engine.NoDatabase: end the command, because nothing was recorded
  * database.engine.OlderDatabase: end the command; the recorder changes the tables when it starts
  * database.migrate.NewerDatabase: end the process, because a person has to upgrade
  * lock.AlreadyRunning: end the process, or join the other one
  * lifecycle.Stopped: end the process
  * tracing.CannotTrace: end the process, because a person has to change a setting
  * partitioning.OtherPartitions: end the set-up, because a person has to decide
  * streams.NotMonitored: warn that the server's durability is unknown
  * bots.platform.PostError: what the relay does with a part
    * bots.platform.Later: try again after `wait_s` seconds
    * bots.platform.Never: post a notice in its place
    * bots.platform.Gone: make the reply a dead letter
    * bots.platform.Forbidden: make the reply a dead letter; the operator must act
  * bots.claims.TakenOver: do nothing more with the reply, because another process shows it
  * bots.adapter.Misconfigured: end the process, because a person has to fix a setting
  * bots.gateway.events.Refused: answer the request with the reason
  * bots.terminal.messages.TooLong: refuse the line
  * bots.terminal.run.AlreadyOpen: end the process
  * dataflow.model.errors.ModelError: retry, ask the fallback, or answer with a notice, by its `why`
  * dataflow.model.framing.Unframed: treat the response as corrupt
  * dataflow.request.TooLong: answer with a notice
  * dataflow.store.store.StoreAway: try again; nothing, or all of it, was changed
  * dataflow.store.store.OtherPartitionCount: end the process, because a person has to decide
  * dataflow.store.store.CannotOpen: end the process, because a person has to act
  * dataflow.partitions.beats.OtherStore: end the process, before users are mixed up
  * dataflow.recorder.database.Unstorable: write the other rows, and skip this message
  * dataflow.recorder.database.Abandoned: end the process, and write nothing more
  * ops.supervise.Ended: report that a part ended before it was ready
  * ops.nats_server.DidNotStart: end the process
  * ops.nats.CannotRun: end the process with its `exit_code`
  * ops.up_status.CannotServe: end the process
  * ops.demo_weights.NoWeights: end the process with the command that installs them
  * ops.finetune.errors.BadInput: end the process, because a person has to change the input
  * ops.finetune.errors.UnknownAdapter: end the process with the names that exist
  * ops.finetune.errors.NotInstalled: end the process with the command that installs the extra
  * ops.finetune.errors.JobFailed: end the process with OpenAI's reason
  * ops.finetune.errors.Interrupted: end the process; the same command goes on
  * ops.export.registry.Withdrawn: make the export again
  * ops.export.run.NothingToExport: end the command, and say what was left out
  * ops.export.run.KeepsChanging: end the command; a person tries again later
  * ops.backup.archive.Damaged: end the command; nothing was changed
  * ops.backup.archive.NewerArchive: end the command, because a person has to upgrade
  * ops.backup.databases.Unusable: end the command with the reason
  * ops.backup.progress.Interrupted: undo everything, and end the command
  * ops.backup.put_back.NotHere: end the command, and say what is there
  * ops.backup.sqlite_files.CannotCopy: end the command with the reason
  * ops.backup.streams.StreamFailed: undo everything, and end the command with the server's reason
    * ops.backup.streams.NoStream: go on without it, if a backup can do so
  * ops.rehearse.errors.WrongUsage: end the process, because a person has to change the options
  * ops.rehearse.errors.NothingToDo: end the process with the reason
  * ops.rehearse.errors.CapReached: report what is finished; the same command goes on
  * ops.rehearse.errors.Unusable: report what is finished; the same command goes on
* ValueError
  * user_names.BadName: refuse the name
  * nats_address.BadAddress: end the process, because NATS_URL is wrong
* OSError
  * nats_errors.UnfitServer: try another server, or end the process
  * http_status.CannotListen: end the process
  * ops.ports.NoFreePort: end the process
"""
