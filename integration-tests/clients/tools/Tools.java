import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Scanner;
import java.util.stream.Stream;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's console tools one after the other in one JVM, each as its command line would.
 *
 * A line of input is a class and its arguments; a line of output is the exit status, what the tool printed
 * and what it printed as errors. All words are in base64, separated by spaces.
 */
public final class Tools {
    /** What a tool prints goes to where this points now: some keep the stream that they saw first. */
    private static final class Switch extends OutputStream {
        OutputStream target = OutputStream.nullOutputStream();

        @Override
        public synchronized void write(int one) throws java.io.IOException {
            target.write(one);
        }

        @Override
        public synchronized void write(byte[] bytes, int from, int length) throws java.io.IOException {
            target.write(bytes, from, length);
        }
    }

    /** Ends a tool that wants to exit. Some catch it and then complain: nobody hears that any more. */
    private static final class Exited extends Error {
        Exited(int status) {
            super("exit status " + status, null, false, false);
        }
    }

    /** The status that the tool that runs now wanted to exit with first, if it did. */
    private static Integer exited;

    public static void main(String[] args) {
        PrintStream answers = System.out;
        Scanner in = new Scanner(System.in);
        System.setIn(new ByteArrayInputStream(new byte[0]));
        Switch out = new Switch();
        Switch err = new Switch();
        System.setOut(new PrintStream(out, true));
        System.setErr(new PrintStream(err, true));
        Exit.setExitProcedure((status, message) -> {
            if (exited == null) exited = status;
            out.target = OutputStream.nullOutputStream();
            err.target = OutputStream.nullOutputStream();
            throw new Exited(status);
        });
        while (in.hasNextLine()) {
            String[] words = Stream.of(in.nextLine().split(" ")).map(Tools::decode).toArray(String[]::new);
            ByteArrayOutputStream printed = new ByteArrayOutputStream();
            ByteArrayOutputStream complained = new ByteArrayOutputStream();
            out.target = printed;
            err.target = complained;
            int status = run(words[0], Stream.of(words).skip(1).toArray(String[]::new));
            answers.println(Stream.of(String.valueOf(status).getBytes(), printed.toByteArray(), complained.toByteArray())
                .map(Base64.getEncoder()::encodeToString).reduce((a, b) -> a + " " + b).get());
        }
        Runtime.getRuntime().halt(0);
    }

    private static int run(String tool, String[] arguments) {
        exited = null;
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
            return exited == null ? 0 : exited;
        } catch (InvocationTargetException error) {
            if (exited != null) return exited;
            error.getCause().printStackTrace();
            return 1;
        } catch (ReflectiveOperationException error) {
            error.printStackTrace();
            return 127;
        }
    }

    private static String decode(String word) {
        return new String(Base64.getDecoder().decode(word), StandardCharsets.UTF_8);
    }
}
