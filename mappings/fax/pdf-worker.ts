import { parentPort } from 'node:worker_threads';
import { ParseSpeeds, PDFArray, PDFDict, PDFDocument, PDFName, PDFRef, PDFStream, type PDFObject } from 'pdf-lib';

/** What the check of one PDF found. */
export type PdfFinding = { readonly pages: number } | { readonly refused: 'damaged' | 'encrypted' | 'active' | 'too-complex' };

/** Objects that a PDF of a fax may have at most; scans have a handful per page. */
const maxObjects = 200_000;
const maxDepth = 100;

/** Dictionary keys that let a document do something, or carry other files (ISO 32000-1, sections 7.11.4, 12.6, 12.7). */
const activeKeys = new Set(['JS', 'JavaScript', 'AA', 'Launch', 'EmbeddedFiles', 'EF', 'RichMediaContent', 'XFA']);
/** Action types (key `S`) that stay within the document are all that is accepted; these leave it or run something. */
const activeActions = new Set(['JavaScript', 'Launch', 'ImportData', 'SubmitForm', 'GoToE', 'GoToR', 'Rendition', 'RichMediaExecute', 'Movie']);

async function check(bytes: Uint8Array): Promise<PdfFinding> {
  let document: PDFDocument;
  try {
    document = await PDFDocument.load(bytes, { throwOnInvalidObject: true, updateMetadata: false, parseSpeed: ParseSpeeds.Fastest });
  } catch (error) {
    // The library's EncryptedPDFError is compiled so that instanceof does not know it.
    return { refused: error instanceof Error && error.message.includes('is encrypted') ? 'encrypted' : 'damaged' };
  }
  const objects = document.context.enumerateIndirectObjects();
  if (objects.length > maxObjects) return { refused: 'too-complex' };
  const budget = { left: maxObjects * 10 };
  if (objects.some(([, object]) => isActive(object, 0, budget))) return { refused: 'active' };
  if (budget.left < 0) return { refused: 'too-complex' };
  try {
    const pages = document.getPages();
    // A reference to an object that is not there is null by the letter; of a page's content it means that the file was cut.
    const isCut = pages.some(({ node }) => [node.get(PDFName.of('Contents'))].flatMap((entry) => (entry instanceof PDFArray ? entry.asArray() : [entry])).some((entry) => entry instanceof PDFRef && document.context.lookup(entry) === undefined));
    return pages.length === 0 || isCut ? { refused: 'damaged' } : { pages: pages.length };
  } catch {
    return { refused: 'damaged' };
  }
}

/** Looks at an object and all directly within it; other indirect objects are looked at in their own turn. */
function isActive(object: PDFObject, depth: number, budget: { left: number }): boolean {
  budget.left -= 1;
  if (budget.left < 0 || depth > maxDepth) {
    budget.left = -1;
    return false;
  }
  if (object instanceof PDFArray) return object.asArray().some((entry) => isActive(entry, depth + 1, budget));
  const dictionary = object instanceof PDFStream ? object.dict : object;
  if (!(dictionary instanceof PDFDict)) return false;
  return dictionary.entries().some(([key, value]) => {
    const name = key.decodeText();
    if (activeKeys.has(name)) return true;
    if (name === 'S' && value instanceof PDFName && activeActions.has(value.decodeText())) return true;
    if (name === 'Type' && value instanceof PDFName && value.decodeText() === 'EmbeddedFile') return true;
    return isActive(value, depth + 1, budget);
  });
}

parentPort?.on('message', (bytes: Uint8Array) => void check(bytes).then((finding) => parentPort?.postMessage(finding)));
