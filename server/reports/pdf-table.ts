import { PDFDocument, rgb, StandardFonts, type PDFFont, type PDFPage } from 'pdf-lib';
import { InterlockError } from '../../resources/outcome/error.ts';
import { printable } from './printable.ts';

/** A piece of a report, from top to bottom. */
export type PdfPart =
  | { readonly kind: 'heading'; readonly text: string }
  | { readonly kind: 'text'; readonly text: string }
  /** Names with their values. */
  | { readonly kind: 'facts'; readonly rows: readonly (readonly [name: string, value: string])[] }
  | {
      readonly kind: 'table';
      /** Widths are shares of the page's width. */
      readonly columns: readonly { readonly title: string; readonly width: number }[];
      readonly rows: readonly (readonly string[])[];
      /** Stands in place of the rows if there are none. */
      readonly empty?: string;
    };

/** A report for people. */
export interface PdfReport {
  readonly title: string;
  /** Stands at the foot of every page, beside the page number. */
  readonly footer: string;
  readonly parts: readonly PdfPart[];
  readonly at: Date;
  /** Tables with many columns. */
  readonly landscape?: boolean;
}

/** Most rows of one report: it is laid out in memory. */
export const maxPdfRows = 50_000;

// US Letter, in points; sizes and leading of the text likewise.
const [shortSide, longSide] = [612, 792];
const margin = 50;
const footerHeight = 10;
const sizes = { title: 18, heading: 12.5, text: 10, cell: 8.5, footer: 8 } as const;
const leading = 1.32;
const padding = 4;
const ink = rgb(0.1, 0.1, 0.12);
const grey = rgb(0.38, 0.38, 0.42);
const line = rgb(0.8, 0.8, 0.84);
const shade = rgb(0.93, 0.94, 0.96);

/**
 * Lays out a report as PDF: wrapped text, tables whose head is repeated on every page, numbered pages. Characters that the
 * standard fonts lack are spelled (see {@link printable}).
 * @throws InterlockError `too-costly` beyond {@link maxPdfRows}
 */
export async function renderPdf(report: PdfReport): Promise<Uint8Array> {
  if (report.parts.reduce((sum, part) => sum + ('rows' in part ? part.rows.length : 1), 0) > maxPdfRows) throw new InterlockError('too-costly', { detail: `One PDF holds ${maxPdfRows} rows; narrow it by time.` });
  const document = await PDFDocument.create();
  const [regular, bold] = await Promise.all([document.embedFont(StandardFonts.Helvetica), document.embedFont(StandardFonts.HelveticaBold)]);
  const layout = new Layout(document, regular, bold, report.landscape === true);
  document.setTitle(layout.spell(report.title), { showInWindowTitleBar: true });
  document.setLanguage('en-US');
  document.setProducer('Interlock');
  document.setCreator('Interlock');
  document.setCreationDate(report.at);
  document.setModificationDate(report.at);
  layout.paragraph(report.title, bold, sizes.title, 8);
  for (const [index, part] of report.parts.entries()) {
    layout.part(part);
    // Long reports must not hold up everybody else.
    if (index % 50 === 49) await new Promise(setImmediate);
  }
  layout.footers(report.footer);
  return document.save();
}

/** Places text on pages, from top to bottom. */
class Layout {
  readonly #document: PDFDocument;
  readonly #regular: PDFFont;
  readonly #bold: PDFFont;
  readonly #size: readonly [number, number];
  readonly #known: ReadonlySet<number>;
  readonly #widths = new Map<string, number>();
  #page: PDFPage;
  #y: number;

  constructor(document: PDFDocument, regular: PDFFont, bold: PDFFont, landscape: boolean) {
    this.#document = document;
    this.#regular = regular;
    this.#bold = bold;
    this.#size = landscape ? [longSide, shortSide] : [shortSide, longSide];
    this.#known = new Set(regular.getCharacterSet());
    this.#page = document.addPage([...this.#size]);
    this.#y = this.#size[1] - margin;
  }

  spell(text: string): string {
    return printable(text, (codePoint) => this.#known.has(codePoint));
  }

  part(part: PdfPart): void {
    switch (part.kind) {
      case 'heading':
        this.#need(sizes.heading * 4);
        this.#y -= 10;
        this.paragraph(part.text, this.#bold, sizes.heading, 4);
        return;
      case 'text':
        this.paragraph(part.text, this.#regular, sizes.text, 6);
        return;
      case 'facts':
        this.#rows([0.28, 0.72], part.rows, undefined, 'facts');
        return;
      case 'table': {
        const total = part.columns.reduce((sum, { width }) => sum + width, 0);
        const rows = part.rows.length === 0 ? [[part.empty ?? 'None.']] : part.rows;
        this.#rows(part.rows.length === 0 ? [1] : part.columns.map(({ width }) => width / total), rows, part.rows.length === 0 ? undefined : part.columns.map(({ title }) => title), 'table');
      }
    }
  }

  paragraph(text: string, font: PDFFont, size: number, after: number): void {
    for (const one of text.split('\n')) {
      for (const row of this.#wrap(one, font, size, this.#width)) {
        this.#need(size * leading);
        this.#y -= size * leading;
        this.#page.drawText(row, { x: margin, y: this.#y, size, font, color: ink });
      }
    }
    this.#y -= after;
  }

  footers(text: string): void {
    const pages = this.#document.getPages();
    const [row = ''] = this.#wrap(text, this.#regular, sizes.footer, this.#width - 90);
    for (const [index, page] of pages.entries()) {
      const number = `Page ${index + 1} of ${pages.length}`;
      const y = margin - 14;
      page.drawText(row, { x: margin, y, size: sizes.footer, font: this.#regular, color: grey });
      page.drawText(number, { x: this.#size[0] - margin - this.#regular.widthOfTextAtSize(number, sizes.footer), y, size: sizes.footer, font: this.#regular, color: grey });
    }
  }

  get #width(): number {
    return this.#size[0] - 2 * margin;
  }

  /** Goes on overleaf if less than this is left of the page. */
  #need(height: number): void {
    if (height <= this.#left) return;
    this.#page = this.#document.addPage([...this.#size]);
    this.#y = this.#size[1] - margin;
  }

  get #left(): number {
    return this.#y - margin - footerHeight;
  }

  #rows(shares: readonly number[], rows: readonly (readonly string[])[], head: readonly string[] | undefined, kind: 'facts' | 'table'): void {
    const size = kind === 'facts' ? sizes.text : sizes.cell;
    if (head !== undefined) {
      this.#need(size * leading * 4);
      this.#head(shares, head, size);
    }
    const linesPerPage = Math.floor((this.#size[1] - 2 * margin - footerHeight) / (size * leading)) - 6;
    for (const row of rows) {
      const cells = row.map((cell, column) => this.#wrap(cell, kind === 'facts' && column === 0 ? this.#bold : this.#regular, size, this.#width * shares[column]! - 2 * padding));
      // A row goes on overleaf only if no page could hold it.
      let from = 0;
      const height = Math.max(...cells.map((lines) => lines.length));
      while (from < height) {
        const room = Math.floor((this.#left - 2 * padding) / (size * leading));
        if (height - from > room && (room < 3 || height - from <= linesPerPage)) {
          this.#need(Number.MAX_SAFE_INTEGER);
          if (head !== undefined) this.#head(shares, head, size);
          continue;
        }
        const count = Math.min(room, height - from);
        this.#lines(shares, cells.map((lines) => lines.slice(from, from + count)), count, size, kind);
        from += count;
      }
    }
    this.#y -= 8;
  }

  #head(shares: readonly number[], texts: readonly string[], size: number): void {
    const cells = texts.map((text, column) => this.#wrap(text, this.#bold, size, this.#width * shares[column]! - 2 * padding));
    this.#lines(shares, cells, Math.max(...cells.map((lines) => lines.length)), size, 'head');
  }

  #lines(shares: readonly number[], cells: readonly (readonly string[])[], count: number, size: number, kind: 'head' | 'facts' | 'table'): void {
    const height = count * size * leading + 2 * padding - (kind === 'facts' ? padding : 0);
    const top = this.#y;
    if (kind === 'head') this.#page.drawRectangle({ x: margin, y: top - height, width: this.#width, height, color: shade });
    let x = margin;
    for (const [column, lines] of cells.entries()) {
      const font = kind === 'head' || (kind === 'facts' && column === 0) ? this.#bold : this.#regular;
      for (const [index, text] of lines.entries()) this.#page.drawText(text, { x: x + (kind === 'facts' && column === 0 ? 0 : padding), y: top - padding - (index + 1) * size * leading + size * 0.3, size, font, color: ink });
      x += this.#width * shares[column]!;
    }
    this.#y = top - height;
    if (kind !== 'facts') this.#page.drawLine({ start: { x: margin, y: this.#y }, end: { x: margin + this.#width, y: this.#y }, thickness: 0.5, color: line });
  }

  /** Breaks text into lines of a width: at spaces, or within words that are longer than a line. */
  #wrap(text: string, font: PDFFont, size: number, width: number): string[] {
    const out: string[] = [];
    let current = '';
    for (const word of this.spell(text).split(' ')) {
      const joined = current === '' ? word : `${current} ${word}`;
      if (this.#widthOf(joined, font, size) <= width) {
        current = joined;
        continue;
      }
      if (current !== '') out.push(current);
      current = word;
      while (this.#widthOf(current, font, size) > width && current.length > 1) {
        let length = current.length - 1;
        while (length > 1 && this.#widthOf(current.slice(0, length), font, size) > width) length -= 1;
        out.push(current.slice(0, length));
        current = current.slice(length);
      }
    }
    return [...out, current];
  }

  #widthOf(text: string, font: PDFFont, size: number): number {
    let sum = 0;
    for (const letter of text) {
      const key = font === this.#bold ? `b${letter}` : letter;
      let width = this.#widths.get(key);
      // Per thousand, of the letters alone: kerning only makes it narrower.
      if (width === undefined) this.#widths.set(key, (width = font.widthOfTextAtSize(letter, 1000)));
      sum += width;
    }
    return (sum * size) / 1000;
  }
}
