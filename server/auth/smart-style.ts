import type { RequestHandler } from 'express';

/**
 * Colours and sizes of the sign-in pages, for apps that want to look like them: the document that `smart_style_url` names
 * (https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#styling).
 */
const smartStyle = {
  color_background: '#f3f5f7',
  color_error: '#a3161f',
  color_highlight: '#0b5cad',
  color_modal_backdrop: '#17212b',
  color_success: '#1d6b3a',
  color_text: '#17212b',
  dim_border_radius: '12px',
  dim_font_size: '16px',
  dim_spacing_size: '24px',
  font_family_body: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
  font_family_heading: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
} as const;

/** Serves the style document to pages of any origin. */
export const smartStyleDocument: RequestHandler = (_request, response) => {
  response.set({ 'Access-Control-Allow-Origin': '*', 'Cross-Origin-Resource-Policy': 'cross-origin', 'Cache-Control': 'public, max-age=3600' }).json(smartStyle);
};
