import { writeSync } from 'node:fs';

/** Jest reporter: the run's last line is `N passed, N failed`, counting files that would not load as failed. */
export default class ClosingLine {
  onRunComplete(_contexts, results) {
    const failed = results.numFailedTests + results.testResults.filter((file) => file.testExecError !== undefined).length;
    const skipped = results.numPendingTests > 0 ? `, ${results.numPendingTests} skipped` : '';
    process.once('exit', () => writeSync(1, `${results.numPassedTests} passed, ${failed} failed${skipped}\n`));
  }
}
