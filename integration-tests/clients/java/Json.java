import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The little JSON that the line protocol needs: no escapes but \" and \\, integers only. */
final class Json {
    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> object(String line) {
        return (Map<String, Object>) new Json(line).value();
    }

    static String quote(String text) {
        return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ") + '"';
    }

    private Object value() {
        skip();
        char first = text.charAt(at);
        if (first == '{') {
            Map<String, Object> map = new HashMap<>();
            while (more('}')) {
                String name = string();
                skip(); // the colon
                map.put(name, value());
            }
            return map;
        }
        if (first == '[') {
            List<Object> list = new ArrayList<>();
            while (more(']')) list.add(value());
            return list;
        }
        if (first == '"') return string();
        if (text.startsWith("null", at)) {
            at += 4;
            return null;
        }
        int start = at;
        while (at < text.length() && "-0123456789".indexOf(text.charAt(at)) >= 0) at++;
        return Long.parseLong(text.substring(start, at));
    }

    /** Steps over the opening bracket or a comma; false at the closing bracket. */
    private boolean more(char close) {
        if (text.charAt(at) == '{' || text.charAt(at) == '[') at++;
        skip();
        if (text.charAt(at) == close) {
            at++;
            return false;
        }
        return true;
    }

    private String string() {
        StringBuilder out = new StringBuilder();
        int end = text.indexOf('"', at + 1);
        out.append(text, at + 1, end);
        at = end + 1;
        return out.toString();
    }

    private void skip() {
        while (" :,".indexOf(text.charAt(at)) >= 0) at++;
    }
}
