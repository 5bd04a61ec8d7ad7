import { html, page, type FormFacts, type Html } from './pages.ts';
import type { Count } from './records.ts';

/** One line of the consent page. */
export interface ConsentLine {
  readonly scope: string;
  readonly title: string;
  readonly detail?: string | undefined;
  /** How many records it would release at present. */
  readonly count?: Count | undefined;
  /** Parts that can be granted instead. */
  readonly kinds?: readonly { readonly scope: string; readonly title: string; readonly count?: Count | undefined }[];
}

export interface ConsentFacts extends FormFacts {
  readonly username: string;
  readonly signOutUrl: string;
  readonly appsUrl: string;
  /** Whose record the app would work with, if one. */
  readonly record?: string | undefined;
  readonly purpose: string;
  readonly duration: string;
  /** May be unticked. */
  readonly optional: readonly ConsentLine[];
  /** Granted along with the rest. */
  readonly fixed: readonly ConsentLine[];
  /** Asked for, but not possible here. */
  readonly withheld: readonly ConsentLine[];
}

/** The consent page: who asks, for what and how much of it, why and for how long; line by line, to be unticked. */
export function consentPage(facts: ConsentFacts): string {
  return page(
    `Allow ${facts.appName}?`,
    html`<p>You are signed in as <strong>${facts.username}</strong>.</p>
<dl>
<dt>Who asks</dt><dd>${facts.appName}<small>Answers go to ${facts.appHost}</small></dd>
${facts.record !== undefined && html`<dt>Record</dt><dd>${facts.record}</dd>`}
<dt>Purpose</dt><dd>${facts.purpose}</dd>
<dt>How long</dt><dd>${facts.duration}</dd>
</dl>
<form method="post" action="${facts.action}">
<input type="hidden" name="csrf" value="${facts.csrf}">
${facts.optional.length > 0 && html`<fieldset><legend>It asks to</legend>
${facts.optional.map(choice)}
</fieldset>`}
${facts.fixed.length > 0 && html`<h2>It will also</h2><ul>${facts.fixed.map((entry) => html`<li>${line(entry)}</li>`)}</ul>`}
${facts.withheld.length > 0 && html`<h2>It will not get</h2><p>This needs a patient or visit, and none was chosen.</p><ul class="withheld">${facts.withheld.map((entry) => html`<li>${line(entry)}</li>`)}</ul>`}
<div class="buttons">
<button name="decision" value="allow">Allow</button>
<button name="decision" value="cancel" class="quiet">Don’t allow</button>
</div>
</form>
<details><summary>Technical names</summary><ul>${[...facts.optional, ...facts.fixed, ...facts.withheld].map(({ title, scope }) => html`<li>${title}<code>${scope}</code></li>`)}</ul></details>
<p class="reference">Your answer is kept for a year at most, so that the same is not asked again. See and end it at any time under <a href="${facts.appsUrl}">Apps with access</a>. Not you? <a href="${facts.signOutUrl}">Sign out</a>, then start the app again.</p>`,
  );
}

function choice(entry: ConsentLine): Html {
  const { kinds = [] } = entry;
  return html`<label class="choice"><input type="checkbox" name="scope" value="${entry.scope}" checked>${line(entry)}</label>
${kinds.length > 0 && html`<details><summary>Only some kinds</summary><fieldset><legend>${entry.title}: tick some to allow only these, or none to allow all</legend>${kinds.map((kind) => html`<label class="choice"><input type="checkbox" name="kind" value="${kind.scope}">${line(kind)}</label>`)}</fieldset></details>`}`;
}

function line(entry: Omit<ConsentLine, 'kinds'>): Html {
  return html`<span><strong>${entry.title}</strong>${entry.detail !== undefined && html`<small>${entry.detail}</small>`}${entry.count !== undefined && html`<small>${countText(entry.count)}</small>`}</span>`;
}

function countText(count: Count): string {
  if (count === 'not-permitted') return 'Nothing: your own access does not include it';
  if ('atLeast' in count) return `More than ${count.atLeast.toLocaleString('en')} records at present`;
  return count.most === 0 ? 'No records at present' : count.most === 1 ? '1 record at present' : `${count.most.toLocaleString('en')} records at present`;
}
