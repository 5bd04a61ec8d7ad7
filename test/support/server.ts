export { freePort, startServerProcess as startTestServer, type CliResult, type ServerProcess as TestServer } from '../../server/demo/server-process.ts';
